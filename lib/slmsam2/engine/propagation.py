"""Propagation of painted slices through a volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slmsam2.engine.features import FeatureCache
from slmsam2.engine.tracker import ObjectTracker, absent_logits, is_absent
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.network import SliceOutput

Prompts = dict[int, dict[int, np.ndarray]]
Progress = Callable[[int, int], None]
Order = Literal["independent", "published"]
ABSENT_SCORE = -10.0
BLEND_LIMIT = 10.0


@dataclass(frozen=True)
class Settings:
    """How to propagate.

    Attributes:
        order: "published": forward, then backward reading forward memories; "independent": the directions do not
            see each other and are blended between painted slices.
        up, down: whether to go towards higher, towards lower slice numbers.
        first, last: the slice range to stay in, inclusive; None for the volume's ends.
        stop_after: slices in a row without the object after which a direction ends; None goes to the range's end.
    """

    order: Order = "independent"
    up: bool = True
    down: bool = True
    first: int | None = None
    last: int | None = None
    stop_after: int | None = None


@dataclass(frozen=True)
class Stop:
    """Where and why a direction ended: ``reason`` is "end of the structure" or "end of the range"."""

    slice: int
    reason: str


@dataclass
class Propagation:
    """What the network says for S slices and O objects (in ascending order of their ids).

    Attributes:
        objects: the ids.
        low_res: float32 (S, O, n, n) mask logits at the network's own resolution; a large negative number where
            nothing was found or the propagation did not go.
        object_score: float32 (S, O) logit that the object is on the slice.
        iou: float32 (S, O) overlap that the network expects of its mask.
        visited: bool (S, O).
        out_size: (h, w) of the slices.
        stops: per object, "up" and "down" -> where and why that direction ended.
    """

    objects: list[int]
    low_res: Tensor
    object_score: Tensor
    iou: Tensor
    visited: Tensor
    out_size: tuple[int, int]
    stops: dict[int, dict[str, Stop]] = field(default_factory=dict)

    def slice_logits(self, index: int) -> Tensor:
        """Mask logits of one slice at the slices' own size, float32 (O, h, w)."""
        low = self.low_res[index][:, None]
        return F.interpolate(low, size=self.out_size, mode="bilinear", align_corners=False)[:, 0]

    @property
    def logits(self) -> Tensor:
        """Mask logits of all slices, float32 (S, O, h, w)."""
        return torch.stack([self.slice_logits(s) for s in range(len(self.low_res))])


@torch.no_grad()
def propagate_frames(
    model: SLMSAM2,
    frames: Sequence[Tensor] | Tensor,
    prompts: Prompts,
    *,
    out_size: tuple[int, int],
    order: Order = "independent",
    recent_n: int | None = None,
    settings: Settings | None = None,
    features: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Propagation:
    """Propagate painted slices of one or more objects through a volume.

    Args:
        model: the network in eval mode.
        frames: float32 (S, 3, N, N), normalised; or a sequence that gives (3, N, N) per slice.
        prompts: {object id: {slice: bool (h, w)}}; at least one slice per object. A mask without a voxel says that
            the object is not on that slice.
        out_size: (h, w) of the slices.
        order: see :class:`Settings`; ignored when ``settings`` is given.
        recent_n: slices the short-term memory reads, when other than the network's own.
        features: features already at hand for these frames.
        progress: called with (slices done, slices to do at most) after each slice; what it raises ends the run.

    Raises:
        PromptError: no prompt, or one outside the volume or the range.
        ConfigurationError: an unknown order.
    """
    settings = settings or Settings(order=order)
    if settings.order not in ("independent", "published"):
        raise ConfigurationError(f"Unknown order {settings.order!r}: use 'independent' or 'published'.")
    features = features or FeatureCache(model, frames)
    _check_prompts(prompts, len(features), settings)
    objects = sorted(prompts)
    result = _empty_result(model, objects, len(features), out_size)
    counter = _Counter(progress, _slices_to_visit(prompts, len(features), settings))
    own_recent_n = model.recent_n
    model.recent_n = recent_n or own_recent_n
    try:
        for column, obj in enumerate(objects):
            _propagate_object(model, features, prompts[obj], settings, result, column, counter)
    finally:
        model.recent_n = own_recent_n
    return result


def _propagate_object(
    model: SLMSAM2,
    features: FeatureCache,
    painted: dict[int, np.ndarray],
    settings: Settings,
    result: Propagation,
    column: int,
    counter: _Counter,
) -> None:
    """Both directions of one object, written into ``result``."""
    prompted = ObjectTracker(model, features)
    for index, mask in sorted(painted.items()):
        _store(result, index, column, prompted.prompt(index, mask))
        counter.tick()
    last, first = max(painted), min(painted)
    low, high = _bounds(len(features), settings)
    published = settings.order == "published"
    stops = result.stops.setdefault(result.objects[column], {})
    up: dict[int, SliceOutput] = {}
    down: dict[int, SliceOutput] = {}
    if settings.up:
        tracker = prompted if published else prompted.fork()
        up, stops["up"] = _travel(tracker, range(first + 1, high + 1), painted, settings, first, counter)
    if settings.down:
        tracker = prompted if published else prompted.fork()
        start = first if published else last
        route = range(start - 1, low - 1, -1)
        down, stops["down"] = _travel(tracker, route, painted, settings, start, counter)
    for index in sorted(up.keys() | down.keys()):
        both = [out for out in (up.get(index), down.get(index)) if out is not None]
        weights = _blend_weights(index, sorted(painted)) if len(both) == 2 else [1.0]
        _store_blend(result, index, column, both, weights)


def _travel(
    tracker: ObjectTracker,
    route: range,
    painted: dict[int, np.ndarray],
    settings: Settings,
    start: int,
    counter: _Counter,
) -> tuple[dict[int, SliceOutput], Stop]:
    """Follow the object along ``route``; after its end, go on only from the next painted slice."""
    outputs: dict[int, SliceOutput] = {}
    absent, ended = 0, None
    for index in route:
        if index in painted:
            absent, ended = 0, None
            continue
        if ended is None:
            outputs[index] = _compact(tracker.advance(index, reverse=route.step < 0))
            tracker.forget_beyond((index, start))
            absent = absent + 1 if is_absent(outputs[index]) else 0
            if settings.stop_after is not None and absent >= settings.stop_after:
                ended = Stop(index - route.step * (absent - 1), "end of the structure")
        counter.tick()
    reached = route[-1] if len(route) else start
    return outputs, ended or Stop(reached, "end of the range")


def _compact(out: SliceOutput) -> SliceOutput:
    """The parts of a slice's output that the result needs, so that its memory can be dropped."""
    return {key: out[key] for key in ("pred_masks", "object_score_logits", "iou")}


def _blend_weights(index: int, painted: list[int]) -> list[float]:
    """Weights of the upward and downward pass between two painted slices: the nearer one counts more."""
    below = max(p for p in painted if p < index)
    above = min(p for p in painted if p > index)
    share = (index - below) / (above - below)
    return [1.0 - share, share]


def _store(result: Propagation, index: int, column: int, out: SliceOutput) -> None:
    result.low_res[index, column] = out["pred_masks"][0, 0].float().cpu()
    result.object_score[index, column] = out["object_score_logits"][0, 0].float().cpu()
    result.iou[index, column] = out["iou"][0].float().cpu()
    result.visited[index, column] = True


def _store_blend(
    result: Propagation, index: int, column: int, outputs: list[SliceOutput], weights: list[float]
) -> None:
    """Write one output, or the weighted mean of two; logits are clamped first, so that "absent" is only a vote."""
    if len(outputs) == 1:
        _store(result, index, column, outputs[0])
        return
    pairs = list(zip(outputs, weights, strict=True))
    masks = sum(w * out["pred_masks"].clamp(-BLEND_LIMIT, BLEND_LIMIT) for out, w in pairs)
    scores = sum(w * out["object_score_logits"] for out, w in pairs)
    ious = sum(w * out["iou"] for out, w in pairs)
    _store(result, index, column, {"pred_masks": masks, "object_score_logits": scores, "iou": ious})


def _empty_result(
    model: SLMSAM2, objects: list[int], num_slices: int, out_size: tuple[int, int]
) -> Propagation:
    size, count = model.image_size // 4, len(objects)
    return Propagation(
        objects=objects,
        low_res=absent_logits(size).expand(num_slices, count, size, size).clone(),
        object_score=torch.full((num_slices, count), ABSENT_SCORE),
        iou=torch.zeros(num_slices, count),
        visited=torch.zeros(num_slices, count, dtype=torch.bool),
        out_size=out_size,
    )


def _bounds(num_slices: int, settings: Settings) -> tuple[int, int]:
    low = 0 if settings.first is None else settings.first
    high = num_slices - 1 if settings.last is None else settings.last
    return low, high


def _check_prompts(prompts: Prompts, num_slices: int, settings: Settings) -> None:
    low, high = _bounds(num_slices, settings)
    if not 0 <= low <= high < num_slices:
        raise PromptError(f"The slice range {low} to {high} does not fit a volume of {num_slices} slices.")
    if not prompts or not all(prompts.values()):
        raise PromptError("Nothing is painted: paint the structure on at least one slice and try again.")
    outside = sorted({s for painted in prompts.values() for s in painted if not low <= s <= high})
    if outside:
        raise PromptError(f"Painted slices {outside} are outside the slice range {low} to {high}.")


def _slices_to_visit(prompts: Prompts, num_slices: int, settings: Settings) -> int:
    low, high = _bounds(num_slices, settings)
    total = 0
    for painted in prompts.values():
        first, last = min(painted), max(painted)
        start = first if settings.order == "published" else last
        total += len(painted)
        total += settings.up * (high - first - sum(s > first for s in painted))
        total += settings.down * (start - low - sum(s < start for s in painted))
    return total


class _Counter:
    """Counts slices and tells the caller."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self._done = progress, total, 0

    def tick(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
