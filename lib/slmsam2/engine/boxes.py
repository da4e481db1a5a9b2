"""What a box was drawn around, found on the image alone: the region in it with the clearest edge that fits it, and of a
box over several slices the one on which that is clearest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from slmsam2.engine.regions import region_around
from slmsam2.normalisation import grey_of
from slmsam2.prompts.marks import Box, spread_pixels
from slmsam2.volume import Frames, Window

SMOOTHING = 0.01  # standard deviation of the image's blur, times the square root of its area
TOLERANCES = np.geomspace(0.02, 0.35, 16)  # differences from a pixel that are tried, of the window
OPENINGS = (0, 2, 4)  # pixels by which a region is opened, so that it does not leak through narrow gaps
LEAST_AREA = 9  # pixels of a region
CENTRAL = 0.3  # regions begin at pixels nearer to the centre than this, squared, in halves of the box's sides
SIDE = 128  # pixels of an image in which the slices of a box are compared
ROOM = 0.75  # around the box there, times its longer side
SHARES = (0.5, 0.42, 0.58, 0.25, 0.75)  # of the way from the first to the last, that are looked at
LEAST_FIT = 0.5  # overlap of a region's extent with the box; else the box's ellipse is taken


def in_box(grey: np.ndarray, box: Box) -> np.ndarray:
    """The region that fits into a box, or the ellipse that does: bool (H, W), for grey, float (H, W), 0 to 1."""
    return _clearest(grey, box)[0]


def clearest_slice(
    stack: np.ndarray, window: Window, spacing: tuple[float, float], box: Box, slices: tuple[int, int]
) -> int:
    """Of a box over several slices the one to begin with: near the middle, and with a clear edge in the box.

    Around a whole structure a box is wider than the structure on most of its slices, and what fills it there is
    something else.

    Args:
        stack: (S, H, W), real numbers.
        spacing: between rows and between columns, in mm.
        slices: first and last.
    """
    whole = np.zeros(stack.shape[1:], bool)
    left, top, right, bottom = box
    whole[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    region = region_around([whole], spacing, ROOM)
    frames = Frames(region.cut(stack), window, SIDE)
    across, along = SIDE / region.size[1], SIDE / region.size[0]
    moved = (
        (left - region.left) * across,
        (top - region.top) * along,
        (right - region.left) * across,
        (bottom - region.top) * along,
    )
    first, last = slices
    scores: dict[int, float] = {}
    for share in SHARES:
        index = round(first + share * (last - first))
        clarity = _clearest(grey_of(frames[index]).numpy(), moved)[1]
        scores.setdefault(index, clarity * (1 - abs(share - 0.5)))
    return max(scores, key=scores.__getitem__)


def _clearest(grey: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
    """The region that fits into a box, and how well it fits and how clear its edge is; else the ellipse, and 0."""
    across, along = _from_centre(box, grey.shape)
    within = (np.abs(across) <= 1) & (np.abs(along) <= 1)
    mask, best = across**2 + along**2 <= 1, 0.0
    if not within.any():
        return mask, best
    rows, columns = (slice(places[0], places[-1] + 1) for places in (_along(within, 1), _along(within, 0)))
    boxed = _Boxed(grey, rows, columns)
    for row, column in _pixels((across**2 + along**2 <= CENTRAL)[rows, columns]):
        for region in boxed.regions(row, column):
            fit = (np.ptp(_along(region, 1)) + 1) * (np.ptp(_along(region, 0)) + 1) / region.size
            score = boxed.clarity(region) * fit**2
            if fit >= LEAST_FIT and score > best:
                best, mask = score, np.zeros(grey.shape, bool)
                mask[rows, columns] = region
    return mask, best


class _Boxed:
    """The part (h, w) of a slice that is in a box."""

    def __init__(self, grey: np.ndarray, rows: slice, columns: slice):
        sigma = SMOOTHING * np.sqrt(grey.size)
        grey = grey.astype(np.float64)
        self._grey = ndimage.gaussian_filter(grey, sigma / 2)[rows, columns]
        self._edges = ndimage.gaussian_gradient_magnitude(grey, sigma)[rows, columns]
        self._inner = np.zeros(self._grey.shape, bool)
        self._inner[1:-1, 1:-1] = True

    def regions(self, row: int, column: int) -> Iterator[np.ndarray]:
        """Connected regions of pixels like one, the holes filled: bool (h, w), no two of one area."""
        difference, seen = np.abs(self._grey - self._grey[row, column]), set()
        for tolerance in TOLERANCES:
            alike = difference < tolerance
            for opening in OPENINGS:
                region = _around(row, column, alike, opening)
                area = int(region.sum())
                if area >= LEAST_AREA and area not in seen:
                    seen.add(area)
                    yield region

    def clarity(self, region: np.ndarray) -> float:
        """How clear a region's edge is where the box does not cut it off; less for one that it cuts off, or winds."""
        rim = region & ~ndimage.binary_erosion(region)
        own = rim & self._inner
        if not own.any():
            return 0.0
        compactness = min(1.0, 4 * np.pi * region.sum() / rim.sum() ** 2)
        return float(np.percentile(self._edges[own], 30) * np.sqrt(compactness) * own.sum() / rim.sum())


def _around(row: int, column: int, alike: np.ndarray, opening: int) -> np.ndarray:
    """The connected part of ``alike`` around a pixel, cut off at narrow gaps, with its holes filled."""
    opened = ndimage.binary_erosion(alike, iterations=opening) if opening else alike
    parts, _ = ndimage.label(opened)
    if not parts[row, column]:
        return np.zeros(alike.shape, bool)
    part = parts == parts[row, column]
    if opening:
        part = ndimage.binary_dilation(part, iterations=opening, mask=alike)
    return ndimage.binary_fill_holes(part)


def _from_centre(box: Box, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each pixel from a box's centre, across and along, in halves of its width and height."""
    rows, columns = np.indices(shape)
    left, top, right, bottom = box
    across = (columns + 0.5 - (left + right) / 2) / max((right - left) / 2, 0.5)
    along = (rows + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 0.5)
    return across, along


def _along(mask: np.ndarray, axis: int) -> np.ndarray:
    """Where along the other axis a mask (h, w) is, seen along ``axis``."""
    return mask.any(axis=axis).nonzero()[0]


def _pixels(mask: np.ndarray) -> list[tuple[int, int]]:
    """Row and column of a few of a mask's pixels, far from each other."""
    return [(int(y), int(x)) for x, y in spread_pixels(mask)]
