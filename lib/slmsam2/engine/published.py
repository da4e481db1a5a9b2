"""Propagation in the order of the published tool: forward, then backward reading the forward memories, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from slmsam2.engine.features import FeatureCache
from slmsam2.engine.settings import END_OF_RANGE, END_OF_STRUCTURE, Settings, Stop
from slmsam2.engine.spans import Tracked
from slmsam2.engine.tracker import ObjectTracker, found_on, is_absent
from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.network import SliceOutput


def propagate_published(
    model: SLMSAM2,
    features: FeatureCache,
    painted: Mapping[int, np.ndarray],
    settings: Settings,
    bounds: tuple[int, int],
    tick: Callable[[], None],
) -> Tracked:
    """Both directions of one object, from the first painted slice.

    Args:
        painted: {slice: bool (h, w)}, at least one.
        bounds: first and last slice of the range.
        tick: called for each slice of each direction.
    """
    tracker = ObjectTracker(model, features)
    result = Tracked()
    for index, mask in sorted(painted.items()):
        result.prompted[index] = tracker.prompt(index, mask)
        tick()
    first = min(painted)
    routes = {"up": range(first + 1, bounds[1] + 1), "down": range(first - 1, bounds[0] - 1, -1)}
    for way, wanted in (("up", settings.up), ("down", settings.down)):
        if wanted:
            outputs, result.stops[way] = _travel(tracker, routes[way], painted, settings, first, tick)
            vars(result)[way].update(outputs)
    result.redone.update(result.prompted, result.up, result.down)
    return result


def _travel(
    tracker: ObjectTracker,
    route: range,
    painted: Mapping[int, np.ndarray],
    settings: Settings,
    start: int,
    tick: Callable[[], None],
) -> tuple[dict[int, SliceOutput], Stop]:
    """Follow the object along ``route``; after its end, go on only from the next painted slice."""
    outputs: dict[int, SliceOutput] = {}
    absent, ended = 0, None
    for index in route:
        if index in painted:
            absent, ended = 0, None
            continue
        if ended is None:
            out = tracker.advance(index, reverse=route.step < 0)
            outputs[index] = found_on(out, tracker.least_overlap)
            tracker.forget_beyond((index, start))
            absent = absent + 1 if is_absent(outputs[index]) else 0
            if settings.stop_after is not None and absent >= settings.stop_after:
                ended = Stop(index - route.step * (absent - 1), END_OF_STRUCTURE)
        tick()
    reached = route[-1] if len(route) else start
    return outputs, ended or Stop(reached, END_OF_RANGE)
