"""The shape of a structure in other volumes, laid upon what was found of it here.

What the network loses, a thin part or a far end, and what it adds, is seldom there in other people. So their shapes,
moved and scaled onto the painted slices, vote on each pixel, as atlases do (P. Aljabar et al., 2009, Multi-atlas based
segmentation of brain images); with the vote goes what was found in the image, which knows better how this person
differs. How much the votes count is told by how well the shapes fit what was found near the painted slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from slmsam2.engine.lengths import LARGEST, Placed, Usual, nearness
from slmsam2.volume import Sections

MOST_VOTES = 12  # those whose areas are most like what was found
SHIFTS = (0.0, -0.1, -0.05, 0.05, 0.1)  # along the slices that are tried, relative to the length
COARSE = 2  # every so many pixels and slices are looked at to find the best of them
# overlap of shapes with what was found near the painted slices
UNLIKE = 0.55  # up to which they do not count
ALIKE = 0.75  # from which they count as much as they may
VOTES_COUNT = 0.5  # of the log odds that votes give, in mask logits
BETWEEN = 0.5  # of that counts between painted slices, where both ways meet
BLUR = 0.2  # standard deviation relative to the largest section's radius, of a single shape
NEITHER = 1.0  # pixel: masks and votes of less are as good as none
UNSEEN = 0.5  # votes that either side has beforehand


@dataclass(frozen=True)
class Here:
    """What was found of the structure.

    Attributes:
        masks: bool (S, n, n).
        painted: slices of the stack that were painted, ascending, none of which is empty.
        origin: slice of the stack from which positions count.
        spacing: between slices, and of the masks' rows and columns, mm.
    """

    masks: np.ndarray
    painted: Sequence[int]
    origin: int
    spacing: tuple[float, float, float]

    @cached_property
    def positions(self) -> np.ndarray:
        """Of all slices, mm from that of origin (S,)."""
        return (np.arange(len(self.masks)) - self.origin) * self.spacing[0]

    def pixels(self, axis: int, step: int) -> np.ndarray:
        """Where every so many rows (1) or columns (2) of masks lie, mm from the corner."""
        return (np.arange(self.masks.shape[axis])[step // 2 :: step] + 0.5) * self.spacing[axis]

    @cached_property
    def painted_slices(self) -> tuple[np.ndarray, np.ndarray]:
        """Areas (P,), mm², and centres (P, 2), mm from the corner, of the painted slices."""
        masks = self.masks[list(self.painted)]
        counts = masks.sum(axis=(1, 2))
        rows, columns = (
            masks.sum(axis=other) @ self.pixels(axis, 1) / counts for axis, other in ((1, 2), (2, 1))
        )
        return counts * self.spacing[1] * self.spacing[2], np.stack([rows, columns], axis=1)


@dataclass(frozen=True)
class Vote:
    """What shapes in other volumes say of each pixel.

    Attributes:
        share: of the shapes that have it, float32 (S, n, n).
        count: of the shapes.
        weights: of the log odds on each slice, in mask logits (S,).
    """

    share: np.ndarray
    count: int
    weights: np.ndarray

    @property
    def logits(self) -> np.ndarray:
        """To be added to those of the masks, (S, n, n).

        Near its outline one person's shape says little of another's, so votes are blurred, the less the more there are.
        """
        radius = np.sqrt(self.share.sum(axis=(1, 2)).max() / np.pi)
        blur = BLUR * radius / np.sqrt(self.count)
        votes = self.count * gaussian_filter(self.share, (0, blur, blur))
        return self.weights[:, None, None] * np.log((votes + UNSEEN) / (self.count - votes + UNSEEN))

    def agreement(self, masks: np.ndarray) -> np.ndarray:
        """Dice coefficients of masks, bool (S, n, n), with what was voted for (S,); 1 where there is neither."""
        both = np.where(masks, self.share, 0).sum(axis=(1, 2))
        either = masks.sum(axis=(1, 2)) + self.share.sum(axis=(1, 2))
        return (2 * both + NEITHER) / (either + NEITHER)


def usual_shape(usual: Usual, masks: np.ndarray, spacing: tuple[float, float, float]) -> Vote | None:
    """The shape of a structure in other volumes, where it is like what was found.

    Args:
        usual: the volumes, and where along the slices they lie.
        masks: that were found, with the painted slices, bool (S, n, n).
        spacing: between slices, and of the masks' rows and columns, mm.

    Returns:
        None where the shapes are not like what was found.
    """
    here = Here(masks, usual.painted, usual.origin, spacing)
    closest = sorted(usual.volumes, key=lambda one: one.difference)[:MOST_VOTES]
    fitted = [_fitted(here, one) for one in closest]
    fit = np.mean([overlap for _, overlap in fitted])
    weight = VOTES_COUNT * np.clip((fit - UNLIKE) / (ALIKE - UNLIKE), 0, 1)
    if not weight:
        return None
    weights = np.full(len(masks), weight)
    weights[usual.painted[0] : usual.painted[-1]] *= BETWEEN
    return Vote(np.mean([shape for shape, _ in fitted], axis=0), len(fitted), weights)


def _fitted(here: Here, placed: Placed) -> tuple[np.ndarray, float]:
    """The shape of one volume, float32 (S, n, n), where it fits best along the slices; and how well it does."""
    length = placed.sections.length
    near = nearness(len(here.masks), here.painted, here.spacing[0], length)
    told = np.flatnonzero(near)
    coarse = np.union1d(told[::COARSE], here.painted)

    def coarse_fit(place: float) -> float:
        shape = _laid(here, placed.sections, place, coarse, COARSE)
        return _overlap(here, shape, coarse, near[coarse], COARSE)

    place = max((placed.position + shift * length for shift in SHIFTS), key=coarse_fit)
    shape = _laid(here, placed.sections, place, np.arange(len(near)), 1)
    return shape, _overlap(here, shape[told], told, near[told], 1)


def _overlap(here: Here, shape: np.ndarray, slices: np.ndarray, weights: np.ndarray, step: int) -> float:
    """Dice coefficient of a shape on some slices (P, n / step, n / step) with what was found, each slice counting as
    much as its weight (P,)."""
    found = here.masks[slices, step // 2 :: step, step // 2 :: step]
    both = np.where(found, shape, 0).sum(axis=(1, 2)) @ weights
    either = (found.sum(axis=(1, 2)) + shape.sum(axis=(1, 2))) @ weights
    return float(2 * both / either)


def _laid(here: Here, sections: Sections, position: float, slices: np.ndarray, step: int) -> np.ndarray:
    """A shape moved, and scaled, so that it has the centres and areas of the painted slices there.

    Args:
        here: what it is laid upon.
        sections: the shape.
        position: in it, of the slice of origin, mm.
        slices: those that are wanted (P,).
        step: between the rows and columns that are wanted.

    Returns:
        float32 (P, n / step, n / step), 0 to 1.
    """
    positions = position + here.positions
    areas, centres = here.painted_slices
    of_painted = positions[list(here.painted)]
    theirs = sections.areas_at(of_painted)
    counted = theirs > 0
    rows, columns = here.pixels(1, step), here.pixels(2, step)
    laid = np.zeros((len(slices), len(rows), len(columns)), np.float32)
    half = sections.cell[0] / 2  # beyond the faces, where shares fall from a half to nothing
    inside = (positions[slices] > -half) & (positions[slices] < sections.length + half)
    if not counted.any() or not inside.any():
        return laid
    painted = np.array(here.painted)[counted]
    there = positions[slices[inside]]

    def along(values: np.ndarray) -> np.ndarray:
        """What is known of the painted slices, on those that are wanted."""
        return np.interp(slices[inside], painted, values)[:, None]

    size = np.sqrt(np.exp(along(np.log(np.clip(areas[counted] / theirs[counted], 1 / LARGEST, LARGEST)))))
    their_centres = sections.centres_at(of_painted)[counted]
    row, column = (
        ((pixels - along(centres[counted, axis])) / size + along(their_centres[:, axis]))
        / sections.cell[1 + axis]
        - 0.5
        for axis, pixels in enumerate((rows, columns))
    )
    section = there / sections.cell[0] - 0.5
    shape = (len(there), len(rows), len(columns))
    where = [
        np.broadcast_to(one, shape) for one in (section[:, None, None], row[:, :, None], column[:, None, :])
    ]
    laid[inside] = map_coordinates(sections.filled, where, order=1, mode="grid-constant")
    return laid
