"""What shapes and areas on the prompted slices say of others: between two of them, and beyond the outermost.

After S. P. Raya and J. K. Udupa (1990), Shape-based interpolation of multidimensional objects: signed distances are
interpolated; here the shapes are moved onto a common centre before, and areas change evenly from slice to slice. Radii
that do would make a cone where anatomy is round, and lose what lies on one of two slices only.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import center_of_mass, distance_transform_edt, shift

from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import AREAS_FALL, Stop
from slmsam2.engine.spans import BLEND_LIMIT, Span

STEEPNESS = 2.0  # logits per mask pixel of distance from the interpolated edge
LEAST_FALL = 0.1  # of the area from one prompted slice to another, to say anything about an end
NO_END = 10**6  # slices
BEYOND_END = 1.5  # times the distance at which areas that fall evenly reach zero; there a structure has ended


def fill(result: Propagation) -> None:
    """Put the shape between two prompted slices on slices between them where nothing was found, in place.

    What is on two slices is nearly always on those between.
    """
    for column, obj in enumerate(result.objects):
        logits = result.low_res[:, column]
        for span in result.spans[obj]:
            if span.low is None or span.high is None or span.first > span.last:
                continue
            ends = [(logits[end] > 0).numpy() for end in (span.low, span.high)]
            if all(mask.any() for mask in ends):
                _fill(logits, span, ends)
                result.visited[span.first : span.last + 1, column] = True


def _fill(logits: torch.Tensor, span: Span, ends: list[np.ndarray]) -> None:
    """Change the empty ones of the logits (S, n, n) of one span, whose ends are masks, bool (n, n)."""
    empty = [index for index in range(span.first, span.last + 1) if not (logits[index] > 0).any()]
    if not empty:
        return
    low, high = (Shape(mask) for mask in ends)
    for index in empty:
        share = (index - span.low) / (span.high - span.low)  # type: ignore[operator]
        distance = torch.from_numpy(between(low, high, share)).float()
        logits[index] = (STEEPNESS * distance).clamp(-BLEND_LIMIT, BLEND_LIMIT)


def widen(result: Propagation) -> None:
    """Let no mask between two prompts be much smaller than areas that change evenly would have it, in place.

    What bulges between two slices is larger than that, so a smaller mask is nearly always one of which something was
    lost. It gets the geometric mean of both areas, where its logits are highest.
    """
    for column, obj in enumerate(result.objects):
        logits = result.low_res[:, column].numpy()
        areas = np.count_nonzero(logits > 0, axis=(1, 2))
        for span in result.spans[obj]:
            if span.low is None or span.high is None or not (areas[span.low] and areas[span.high]):
                continue
            even = np.linspace(areas[span.low], areas[span.high], span.high - span.low + 1)
            for index in range(span.first, span.last + 1):
                if 0 < areas[index] < even[index - span.low]:
                    logits[index] -= level(logits[index], np.sqrt(areas[index] * even[index - span.low]))


def taper(result: Propagation) -> None:
    """Let a structure end where its areas on the prompted slices say that it must, in place.

    What gets smaller towards its end does so ever faster: areas that went on falling evenly from one prompted slice
    over another would reach zero past the end. Nothing is left beyond ``BEYOND_END`` times that distance, and where
    something was, its direction has stopped there.
    """
    for column, obj in enumerate(result.objects):
        logits = result.low_res[:, column]
        ends = {end for span in result.spans[obj] for end in (span.low, span.high) if end is not None}
        areas = {end: int((logits[end] > 0).sum()) for end in sorted(ends)}
        given = [end for end, area in areas.items() if area]
        for span in result.spans[obj]:
            slices = range(span.first, span.last + 1)
            if given and span.low == given[-1]:
                direction, beyond = "up", slices[_reach(areas, given[:-1], span.low) :]
            elif given and span.high == given[0]:
                direction, beyond = "down", slices[::-1][_reach(areas, given[1:], span.high) :]
            else:
                continue
            cut = [index for index in beyond if (logits[index] > 0).any()]
            logits[list(beyond)] = logits[list(beyond)].clamp(max=-BLEND_LIMIT)
            if cut:
                result.stops[obj][direction] = Stop(cut[0], AREAS_FALL)


def _reach(areas: dict[int, int], inner: list[int], outermost: int) -> int:
    """How many slices beyond the outermost prompted one a structure can be on, by the areas on inner ones."""
    area, reach = areas[outermost], float(NO_END)
    for index in inner:
        if area < (1 - LEAST_FALL) * areas[index]:
            reach = min(reach, BEYOND_END * abs(outermost - index) * area / (areas[index] - area))
    return math.ceil(reach)


class Shape:
    """A mask, bool (n, n), with its area in pixels, its centre (row, column) and signed distances (n, n) to its edge in
    pixels, positive inside."""

    def __init__(self, mask: np.ndarray) -> None:
        self.area = np.count_nonzero(mask)
        self.centre = np.array(center_of_mass(mask))
        self.distance = (
            distance_transform_edt(mask) - distance_transform_edt(~mask) + np.where(mask, -0.5, 0.5)
        )


def between(low: Shape, high: Shape, share: float) -> np.ndarray:
    """Signed distances (n, n) of the shape at ``share`` of the way from ``low`` (0) to ``high`` (1)."""
    centre = (1 - share) * low.centre + share * high.centre
    moved = [shift(shape.distance, centre - shape.centre, order=1, mode="nearest") for shape in (low, high)]
    mixed = (1 - share) * moved[0] + share * moved[1]
    return mixed - level(mixed, (1 - share) * low.area + share * high.area)


def level(values: np.ndarray, area: float) -> float:
    """The level above which so many pixels of ``values`` (n, n) lie, one at least and not all."""
    count = min(max(round(area), 1), values.size - 1)
    return float(np.partition(values, (-count - 1, -count), axis=None)[[-count - 1, -count]].mean())
