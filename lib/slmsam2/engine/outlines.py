"""The outline of what was clicked on, found on the image alone.

A network that has seen few clicks in its training draws poor masks from them. An image says much by itself: of all the
regions around a click that are alike in intensity, the one with the clearest edge is taken. Further clicks add such
regions and take them away, from this outline or from one that was there before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from slmsam2.prompts.marks import Box, Marks, spread_pixels

SMOOTHING = 0.01  # standard deviation of the image's blur, times the square root of its area
TOLERANCES = np.geomspace(0.02, 0.35, 16)  # differences from the click that are tried, of the window
OPENINGS = (0, 2, 4)  # pixels by which a region is opened, so that it does not leak through narrow gaps
LEAST_AREA = 9  # pixels of a region
MOST_SHARE = 0.3  # of a slice that a region may take
REACH = 2.0  # how far a correction goes, times the click's distance from the mask's outline
LARGEST_DISC = 0.1  # radius of a disc drawn where the image says nothing, times the slice's longer side
LEAST_FIT = 0.5  # overlap of a region's extent with the box given for it; else the box's ellipse is taken


def outline(grey: np.ndarray, marks: Marks, prior: np.ndarray | None = None) -> np.ndarray:
    """The mask that marks on a slice mean.

    Args:
        grey: float (H, W), 0 to 1.
        marks: on the same pixels; they say where the structure is, or there is a ``prior``.
        prior: bool (H, W), a mask that the marks correct.

    Returns:
        Bool (H, W), with all pixels marked inside and none of those marked outside.
    """
    picture = _Picture(grey)
    inside, outside = _pixels(marks.inside), _pixels(marks.outside)
    mask = np.zeros(grey.shape, bool) if prior is None else prior.copy()
    if prior is None and marks.box is not None:
        mask = _in_box(picture, marks.box)
    room = np.ones(grey.shape, bool) if marks.box is None else _boxed(*_from_centre(marks.box, grey.shape))
    for pixel in inside:
        if not mask.any():
            mask = picture.region(pixel, room, marks.outside)
        elif not mask[pixel]:
            mask |= picture.region(pixel, _near(pixel, ~mask) & room, marks.outside)
    for pixel in outside:
        if mask[pixel]:
            mask &= ~picture.region(pixel, _near(pixel, mask), marks.inside)
    return (mask | marks.inside) & ~marks.outside


class _Picture:
    """A slice with what is needed to find regions in it."""

    def __init__(self, grey: np.ndarray):
        sigma = SMOOTHING * np.sqrt(grey.size)
        self.grey = ndimage.gaussian_filter(grey.astype(np.float64), sigma / 2)
        self.edges = ndimage.gaussian_gradient_magnitude(grey.astype(np.float64), sigma)

    def region(self, pixel: tuple[int, int], allowed: np.ndarray, kept_out: np.ndarray) -> np.ndarray:
        """The region with the clearest edge around ``pixel``, within ``allowed`` and without ``kept_out``.

        Falls back on the largest disc around ``pixel`` that there is room for.
        """
        found = max(self.candidates(pixel, allowed, kept_out), key=lambda pair: pair[0], default=None)
        return _disc(pixel, allowed & ~kept_out) if found is None else found[1]

    def candidates(
        self, pixel: tuple[int, int], allowed: np.ndarray, kept_out: np.ndarray
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Regions around ``pixel`` (row, column) within ``allowed`` and without ``kept_out``, all bool (h, w), each
        with the :meth:`clarity` of its edge."""
        difference = np.abs(self.grey - self.grey[pixel])
        seen = set()
        for tolerance in TOLERANCES:
            alike = (difference < tolerance) & allowed
            for opening in OPENINGS:
                region = _around(pixel, alike, opening)
                area = int(region.sum())
                if area in seen or not LEAST_AREA <= area <= MOST_SHARE * region.size:
                    continue
                seen.add(area)
                if not (region & kept_out).any():
                    yield self.clarity(region, allowed), region

    def clarity(self, region: np.ndarray, allowed: np.ndarray) -> float:
        """How clear a region's own edge is, the more for a compact one."""
        rim = region & ~ndimage.binary_erosion(region)
        own = rim & ndimage.binary_erosion(allowed, border_value=1)
        if not own.any():
            return 0.0
        compactness = min(1.0, 4 * np.pi * region.sum() / rim.sum() ** 2)
        return float(np.percentile(self.edges[own], 30) * np.sqrt(compactness))


def _around(pixel: tuple[int, int], alike: np.ndarray, opening: int) -> np.ndarray:
    """The connected part of ``alike`` around ``pixel``, cut off at narrow gaps, with its holes filled."""
    opened = ndimage.binary_erosion(alike, iterations=opening) if opening else alike
    parts, _ = ndimage.label(opened)
    if not parts[pixel]:
        return np.zeros(alike.shape, bool)
    part = parts == parts[pixel]
    if opening:
        part = ndimage.binary_dilation(part, iterations=opening, mask=alike)
    return ndimage.binary_fill_holes(part)


def _in_box(picture: _Picture, box: Box) -> np.ndarray:
    """The region that fits into a box, or the ellipse that does."""
    shape = picture.grey.shape
    across, along = _from_centre(box, shape)
    boxed = _boxed(across, along)
    best, best_score = across**2 + along**2 <= 1, 0.0
    for pixel in _pixels(across**2 + along**2 <= 0.3):
        for clarity, region in picture.candidates(pixel, boxed, ~boxed):
            fit = _fit(region, boxed)
            if fit >= LEAST_FIT and clarity * fit > best_score:
                best, best_score = region, clarity * fit
    return best


def _from_centre(box: Box, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each pixel from a box's centre, across and along, in halves of its width and height."""
    rows, columns = np.indices(shape)
    left, top, right, bottom = box
    across = (columns + 0.5 - (left + right) / 2) / max((right - left) / 2, 0.5)
    along = (rows + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 0.5)
    return across, along


def _boxed(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Bool (h, w): the pixels in a box, by their distances from its centre."""
    return (np.abs(across) <= 1) & (np.abs(along) <= 1)


def _fit(region: np.ndarray, boxed: np.ndarray) -> float:
    """Overlap of a region's extent with a box that it lies in, 0 to 1."""
    rows, columns = region.any(axis=1).nonzero()[0], region.any(axis=0).nonzero()[0]
    return float((np.ptp(rows) + 1) * (np.ptp(columns) + 1) / boxed.sum())


def _near(pixel: tuple[int, int], side: np.ndarray) -> np.ndarray:
    """The part of ``side`` that a click in it may change."""
    distance = _distance(pixel, side.shape)
    return side & (distance <= REACH * distance[~side].min(initial=np.inf))


def _disc(pixel: tuple[int, int], room: np.ndarray) -> np.ndarray:
    """The largest disc around ``pixel`` in ``room``, but not larger than ``LARGEST_DISC``."""
    distance = _distance(pixel, room.shape)
    return distance < distance[~room].min(initial=LARGEST_DISC * max(room.shape))


def _distance(pixel: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """From each pixel's centre to that of ``pixel``, in pixels."""
    rows, columns = np.indices(shape)
    return np.hypot(rows - pixel[0], columns - pixel[1])


def _pixels(mask: np.ndarray) -> list[tuple[int, int]]:
    """Row and column of a mask's pixels, a few that are far from each other."""
    return [(int(y), int(x)) for x, y in spread_pixels(mask)]
