"""What is known of a structure from others like it: its usual ends, areas and shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from slmsam2.engine.lengths import LEAST_VOLUMES, Usual, alike, end, resize, usual_in
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import END_OF_STRUCTURE, USUAL_LENGTH, Stop
from slmsam2.engine.shapes import usual_shape
from slmsam2.volume import Sections


def follow_others(
    result: Propagation,
    others: Mapping[int, Sequence[Sections]],
    spacing: tuple[float, float, float],
) -> None:
    """Leave nothing of a structure beyond its usual ends, and bring masks nearer to its usual areas and shape.

    The former two need LEAST_VOLUMES, or the other one of a pair in the same body, which also tells what there is where
    a direction ended too early. This is done in place. What was given stays; a direction in which something was given
    beyond the usual end goes on.

    Args:
        result: says in ``stops`` and ``told_by_others`` what was done.
        others: object id -> the object in other volumes, or what is like it in this one, along these slices.
        spacing: between slices, and of the mask's rows and columns, mm.
    """
    pixel = spacing[1] * spacing[2]
    for column, obj in enumerate(result.objects):
        known = others.get(obj, ())
        if not known or not alike(known):
            continue
        logits = result.low_res[:, column].numpy()
        areas = np.count_nonzero(logits > 0, axis=(1, 2)) * pixel
        given = {index for span in result.spans[obj] for index in (span.low, span.high) if index is not None}
        usual = usual_in(known, areas, given, spacing[0])
        if usual is None:
            continue
        vote = usual_shape(usual, logits > 0, spacing)
        paired = any(one.kin == "twin" for one in known)
        if paired or len(known) >= LEAST_VOLUMES:
            result.told_by_others.add(obj)
            result.stops[obj] |= end(logits, areas, given, usual)
            resize(logits, areas, given, usual, pixel)
        if vote is not None:
            result.told_by_others.add(obj)
            if paired:
                _go_on(result, column, usual)
            free = [index for index in range(len(logits)) if index not in given]
            logits[free] += vote.logits[free]
            result.likeness[obj] = vote.agreement(logits > 0)


def _go_on(result: Propagation, column: int, usual: Usual) -> None:
    """Leave the slices from where the object was lost up to its usual ends to the votes, in place."""
    obj = result.objects[column]
    for direction, stop, slices in list(_lost(result, obj, usual)):
        empty = [index for index in slices if not (result.low_res[index, column] > 0).any()]
        result.low_res[empty, column] = 0
        result.visited[empty, column] = True
        if stop.slice in result.redone[obj]:
            result.redone[obj].update(empty)
        result.stops[obj][direction] = Stop(slices[-1], USUAL_LENGTH)


def _lost(result: Propagation, obj: int, usual: Usual) -> Iterator[tuple[str, Stop, range]]:
    """Directions in which an object was lost: where, and the slices from there up to its usual end, as far as nobody
    said that it is not there or not to go there."""
    for direction, stop in result.stops[obj].items():
        if stop.reason == END_OF_STRUCTURE:
            span = next(span for span in result.spans[obj] if span.first <= stop.slice <= span.last)
            last = min(span.last, usual.last) if direction == "up" else max(span.first, usual.first)
            step = 1 if direction == "up" else -1
            if (last - stop.slice) * step >= 0:
                yield direction, stop, range(stop.slice, last + step, step)
