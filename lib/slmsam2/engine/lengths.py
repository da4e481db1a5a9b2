"""Where a structure ends, and how large it is from slice to slice, told by other volumes.

Most of what a first proposal gets wrong are the ends: a structure passes into what looks like it. And masks wear down
with the distance. People are alike, so the structure of that name in other volumes tells both, once it is known which
of its slices was painted: where areas there and nearby are those that were found here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from slmsam2.engine.interpolation import BLEND_LIMIT, level
from slmsam2.engine.settings import USUAL_LENGTH, Stop
from slmsam2.volume import Sections

LEAST_VOLUMES = 3  # that tell ends and areas: what differs from one to another is then seen
MOST_SPREAD = 0.2  # standard deviation of the lengths relative to their mean: a tumour has no usual length
REACH = 0.5  # of the length: slices farther from the given ones do not count in the alignment
GIVEN = 10.0  # how much a given slice counts in it, a found one next to it being 1
NOTHING = 0.3  # how much a slice counts on which nothing was found, relative to others
LARGEST = 1.5  # areas, relative to those in other volumes, and the other way round: people differ
SIZES = np.geomspace(1 / LARGEST, LARGEST, 9)
# mean differences of diameters, relative to the largest one
SIZE_COSTS = 0.1  # which a size of e or 1 / e must make up for
MOST_DIFFERENT = 0.12  # up to which a volume counts
USUAL = 0.6  # how much the usual area counts on a slice, that of the mask found there the rest (in a geometric mean)
MOST_RESIZED = 2.5  # times, to either side, that the usual area may be that of a mask


@dataclass(frozen=True)
class Placed:
    """A structure of another volume, laid along the slices of this one.

    Attributes:
        sections: of that structure.
        position: in it, of the slice of origin, mm.
        difference: weighted mean difference of diameters here and there, relative to the largest one.
    """

    sections: Sections
    position: float
    difference: float


@dataclass(frozen=True)
class Usual:
    """A structure as it is in other volumes, laid along the slices of this one.

    Attributes:
        first, last: slices of the stack, which may lie beyond it; the means over the volumes.
        areas: mm² on each slice (S,), nearly those of the given slices there.
        painted: slices of the stack that were given, ascending, without those on which it is not.
        origin: that on which it is largest.
        volumes: those that are like this one.
    """

    first: int
    last: int
    areas: np.ndarray
    painted: tuple[int, ...]
    origin: int
    volumes: tuple[Placed, ...]


def alike(volumes: Sequence[Sections]) -> bool:
    """Whether the structure is about as long in each of some volumes; one of the other side says nothing of it."""
    lengths = [sections.length for sections in volumes if sections.kin != "twin"]
    return len(lengths) <= 1 or bool(np.std(lengths, ddof=1) <= MOST_SPREAD * np.mean(lengths))


def usual_in(
    volumes: Sequence[Sections], areas: np.ndarray, given: Collection[int], spacing: float
) -> Usual | None:
    """The structure as it would be if it were as in other volumes.

    Args:
        volumes: the structure there.
        areas: mm² that were found on each slice (S,).
        given: slices that the user painted, some of which may be empty.
        spacing: between slices, mm.

    Returns:
        None where most volumes differ too much from what was found, or nothing was given.
    """
    painted = sorted(index for index in given if areas[index])
    if not painted:
        return None
    origin = max(painted, key=lambda index: areas[index])
    slices = np.arange(len(areas))
    from_origin = (slices - origin) * spacing
    placed = []
    for sections in volumes:
        weights = nearness(len(areas), painted, spacing, sections.length)
        weights[areas == 0] *= NOTHING
        weights[list(given)] += GIVEN
        one = _placed(sections, areas, weights, from_origin, spacing)
        if one.difference <= MOST_DIFFERENT:
            placed.append(one)
    if 2 * len(placed) <= len(volumes):
        return None
    faces = [(-one.position, one.sections.length - one.position) for one in placed]
    low, high = np.mean(faces, axis=0) / spacing
    usual = np.mean([one.sections.areas_at(one.position + from_origin) for one in placed], axis=0)
    known = [index for index in painted if usual[index]]
    if not known:  # painted where there is a gap elsewhere
        return None
    sizes = np.clip(areas[known] / usual[known], 1 / LARGEST, LARGEST)
    usual = usual * np.exp(np.interp(slices, known, np.log(sizes)))
    first, last = origin + math.ceil(low), origin + math.floor(high)
    return Usual(first, last, usual, tuple(painted), origin, tuple(placed))


def nearness(count: int, painted: Sequence[int], spacing: float, length: float) -> np.ndarray:
    """How much each of so many slices tells of a structure of that length (mm), by its distance from the painted ones:
    1 on these, 0 from REACH of the length on."""
    distances = np.abs(np.subtract.outer(np.arange(count), painted)).min(axis=1) * spacing
    return np.clip(1 - distances / (REACH * length + spacing), 0, 1)


def _placed(
    sections: Sections, areas: np.ndarray, weights: np.ndarray, from_origin: np.ndarray, spacing: float
) -> Placed:
    """A volume's structure, where areas there are most like those here."""
    counted = weights > 0
    step = min(spacing, sections.cell[0])
    positions = np.arange(step / 2, sections.length, step)
    there = np.sqrt(sections.areas_at(positions[:, None] + from_origin[counted]))
    here, shares = np.sqrt(areas[counted]), weights[counted] / weights.sum()
    largest = np.sqrt(sections.areas.max())
    differences = np.stack(
        [
            np.abs(scale * there - here) @ shares / (scale * largest) + SIZE_COSTS * abs(np.log(size))
            for size, scale in zip(SIZES, np.sqrt(SIZES), strict=True)
        ]
    ).min(axis=0)
    best = int(differences.argmin())
    return Placed(sections, float(positions[best]), float(differences[best]))


def end(logits: np.ndarray, areas: np.ndarray, given: Collection[int], usual: Usual) -> dict[str, Stop]:
    """Leave nothing of a structure beyond its usual ends, in place; a direction in which something was given beyond the
    usual end goes on.

    Args:
        logits: of its masks, (S, n, n).
        areas: of them (S,).
        given: slices that the user painted.
        usual: the structure in other volumes.

    Returns:
        The directions in which something was taken away.
    """
    present = [index for index in given if areas[index]]
    beyond = {
        "up": (slice(usual.last + 1, None), usual.last + 1, usual.last >= max(present)),
        "down": (slice(0, max(usual.first, 0)), usual.first - 1, usual.first <= min(present)),
    }
    ends = {}
    for direction, (slices, stop, ends_there) in beyond.items():
        if ends_there and areas[slices].any():
            np.minimum(logits[slices], -BLEND_LIMIT, out=logits[slices])
            ends[direction] = Stop(stop, USUAL_LENGTH)
    return ends


def resize(logits: np.ndarray, areas: np.ndarray, given: Collection[int], usual: Usual, pixel: float) -> None:
    """Bring masks that were found nearer to their usual areas, in place.

    Args:
        logits: of the masks, (S, n, n).
        areas: mm² of them (S,).
        given: slices that the user painted, which stay.
        usual: the structure in other volumes.
        pixel: mm².
    """
    for index in set(np.flatnonzero(areas)) - set(given):
        if usual.areas[index] and (logits[index] > 0).any():
            ratio = np.clip(usual.areas[index] / areas[index], 1 / MOST_RESIZED, MOST_RESIZED)
            logits[index] -= level(logits[index], areas[index] / pixel * ratio**USUAL)
