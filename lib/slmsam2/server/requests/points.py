"""Clicks and boxes of a request, as marks on slices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmsam2.errors import PromptError
from slmsam2.prompts import Marks
from slmsam2.prompts.marks import Box
from slmsam2.volume import SliceView

MOST = 10**9  # voxels along an axis; further away is no place in an image
Point = tuple[int, int, int]
Clearest = Callable[[Box, tuple[int, int]], int]  # of a box's slices, from first to last, one


@dataclass(frozen=True)
class Clicks:
    """What a SmartEdit panel sends, in voxels (i, j, k) of the image as stored.

    Attributes:
        foreground, background: points, in the order in which they were placed.
        roi: ((i0, i1), (j0, j1), (k0, k1)), each ascending and inclusive; None without.
        slice: the slice that is looked at, for the 2D task.
    """

    foreground: list[Point]
    background: list[Point]
    roi: tuple[tuple[int, int], ...] | None
    slice: int | None


def parse_clicks(request: Mapping[str, Any], shape: tuple[int, int, int]) -> Clicks:
    """Read ``foreground``, ``background``, ``roi`` and ``slice``.

    Args:
        shape: of the image (I, J, K); what lies outside is refused, a box is cut.

    Raises:
        PromptError: something that is no point, no box, or lies outside the image.
    """
    return Clicks(
        foreground=_points(request, "foreground", shape),
        background=_points(request, "background", shape),
        roi=_roi(request.get("roi"), shape),
        slice=_slice(request.get("slice")),
    )


def marks_of(
    clicks: Clicks, view: SliceView, only: int | None = None, clearest: Clearest | None = None
) -> dict[int, Marks]:
    """Marks per slice of the stack, in the order of the clicks.

    The box is put on the slice of the first foreground click in its range, else on the one in its range that is chosen.

    Args:
        only: the one slice (of the stack) to take; the box lies on it, then.
        clearest: chooses a slice from first to last for a box over several; None takes the middle one.
    """
    inside = [view.stack_position(point) for point in clicks.foreground]
    outside = [view.stack_position(point) for point in clicks.background]
    box, home, low, high = None, None, 0, 0
    if clicks.roi is not None:
        (low, high), box = _box(clicks.roi, view)
        within = [place[0] for place in inside if low <= place[0] <= high]
        if only is not None or within:
            home = within[0] if only is None else only
        else:
            home = (low + high) // 2 if clearest is None or low == high else clearest(box, (low, high))
    order = dict.fromkeys([*(place[0] for place in inside), *([] if home is None else [home])])
    order |= dict.fromkeys(place[0] for place in outside)
    wanted = [index for index in order if only is None or index == only]
    first = {index: (row, column) for index, row, column in reversed(inside)}
    return {
        index: Marks(
            _mask(inside, index, view),
            _mask(outside, index, view),
            box=box if index == home else None,
            first=first.get(index),
            loose=index == home and high > low and only is None,
        )
        for index in wanted
    }


def roi_slices(clicks: Clicks, view: SliceView) -> tuple[int, int] | None:
    """First and last stored slice of the box; None without a box or when it is on one slice only."""
    if clicks.roi is None:
        return None
    first, last = clicks.roi[view.axis]
    return (first, last) if last > first else None


def roi_box(clicks: Clicks, view: SliceView) -> Box | None:
    """The box on each of its slices; None as for :func:`roi_slices`."""
    return None if clicks.roi is None or roi_slices(clicks, view) is None else _box(clicks.roi, view)[1]


def _box(roi: tuple[tuple[int, int], ...], view: SliceView) -> tuple[tuple[int, int], Box]:
    """Slices (low, high) of the stack, and (left, top, right, bottom), the latter two exclusive."""
    one = view.stack_position(tuple(low for low, _ in roi))  # type: ignore[arg-type]
    other = view.stack_position(tuple(high for _, high in roi))  # type: ignore[arg-type]
    slices, rows, columns = (sorted(pair) for pair in zip(one, other, strict=True))
    box = (float(columns[0]), float(rows[0]), float(columns[1] + 1), float(rows[1] + 1))
    return (slices[0], slices[1]), box


def _mask(places: list[Point], index: int, view: SliceView) -> np.ndarray:
    mask = np.zeros(view.slice_shape, bool)
    for _, row, column in (place for place in places if place[0] == index):
        mask[row, column] = True
    return mask


def _points(request: Mapping[str, Any], name: str, shape: tuple[int, int, int]) -> list[Point]:
    listed = _parsed(request.get(name), name)
    if not all(isinstance(point, (list, tuple)) and len(point) == 3 for point in listed):
        raise PromptError(f"{name} must be a list of points [i, j, k] in voxels of the image.")
    points = [_whole(point, name) for point in listed]
    for point in points:
        if not all(0 <= at < size for at, size in zip(point, shape, strict=True)):
            raise PromptError(
                f"The {name} point {list(point)} lies outside the image, whose voxels are 0 to "
                f"{[size - 1 for size in shape]}. Place it on the image."
            )
    return [(i, j, k) for i, j, k in points]


def _roi(value: Any, shape: tuple[int, int, int]) -> tuple[tuple[int, int], ...] | None:
    listed = _parsed(value, "roi")
    if not listed:
        return None
    if len(listed) != 6:
        raise PromptError("roi must be [i0, i1, j0, j1, k0, k1] in voxels of the image.")
    edges = _whole(listed, "roi")
    ranges = []
    for axis, size in enumerate(shape):
        low, high = sorted(edges[2 * axis : 2 * axis + 2])
        if high < 0 or low >= size:
            raise PromptError(f"The box {list(edges)} lies outside the image. Place it on the image.")
        ranges.append((max(low, 0), min(high, size - 1)))
    return tuple(ranges)


def _slice(value: Any) -> int | None:
    if value is None or value == "":
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < MOST or value != int(value):
        raise PromptError(f"slice must be a slice number (0, 1, 2, ...), not {value!r}.")
    return int(value)


def _parsed(value: Any, name: str) -> list[Any]:
    """A list that may come as JSON text; nothing is an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{name} is not understood: {error}. Send a list.") from error
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise PromptError(f"{name} must be a list, not {value!r}.")
    return list(value)


def _whole(numbers: list[Any], name: str) -> tuple[int, ...]:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < MOST:
            raise PromptError(f"{name} must hold numbers of voxels, not {number!r}.")
    return tuple(round(number) for number in numbers)
