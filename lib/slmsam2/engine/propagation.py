"""Propagation of painted slices through a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slmsam2.engine.features import FeatureCache
from slmsam2.engine.progress import Progress
from slmsam2.engine.published import propagate_published
from slmsam2.engine.settings import Order, Settings, Stop
from slmsam2.engine.spans import Span, SpanTracker, Tracked, blend, slices_to_visit, spans_between
from slmsam2.engine.tracker import absent_logits
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.modeling.network import SliceOutput
from slmsam2.prompts import Marks, Prompt, is_empty

Prompts = Mapping[int, Mapping[int, Prompt]]
ABSENT_SCORE = -10.0


@dataclass
class Propagation:
    """What the network says for S slices and O objects (in ascending order of their ids).

    Attributes:
        objects: the ids.
        low_res: float32 (S, O, n, n) mask logits at the network's own resolution; a large negative number where
            nothing was found or the propagation did not go.
        object_score: float32 (S, O) logit that the object is on the slice.
        iou: float32 (S, O) overlap that the network expects of its mask.
        agreement: float32 (S, O), Dice coefficient of what the two directions found; NaN where only one went.
        visited: bool (S, O).
        out_size: (h, w) of the slices.
        stops: per object, "up" and "down" -> where and why that direction ended.
        spans: per object, the slices between its prompts and beyond them.
        redone: per object, the slices that were computed now and not taken from a request before.
        told_by_others: the objects of which others like them, in other volumes or in this one, told ends, areas and
            shape.
        likeness: per object whose shape they told, Dice coefficients with it (S,).
        expected: per object that was found along other dimensions, too, the Dice coefficients (S,) to be expected.
    """

    objects: list[int]
    low_res: Tensor
    object_score: Tensor
    iou: Tensor
    agreement: Tensor
    visited: Tensor
    out_size: tuple[int, int]
    stops: dict[int, dict[str, Stop]] = field(default_factory=dict)
    spans: dict[int, list[Span]] = field(default_factory=dict)
    redone: dict[int, set[int]] = field(default_factory=dict)
    told_by_others: set[int] = field(default_factory=set)
    likeness: dict[int, np.ndarray] = field(default_factory=dict)
    expected: dict[int, np.ndarray] = field(default_factory=dict)

    def mask_spacing(self, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
        """Between slices, and of the rows and columns of masks as the network gives them, from that of the stack."""
        rows, columns = (
            size * between / self.low_res.shape[-1]
            for size, between in zip(self.out_size, spacing[1:], strict=True)
        )
        return spacing[0], rows, columns

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
    looks: Mapping[int, Moments] | None = None,
) -> Propagation:
    """Propagate painted slices of one or more objects through a volume.

    Args:
        model: the network in eval mode.
        frames: float32 (S, 3, N, N), normalised; or a sequence that gives (3, N, N) per slice.
        prompts: {object id: {slice: bool (h, w), or marks}}; at least one slice per object with something on it. A
            mask without a pixel says that the object is not on that slice: nothing goes past it.
        out_size: (h, w) of the slices.
        order: see :class:`Settings`; ignored when ``settings`` is given.
        recent_n: slices the short-term memory reads, when other than the network's own.
        features: features already at hand for these frames.
        progress: called with (slices done, slices to do at most) after each slice; what it raises ends the run.
        looks: object id -> what the object looks like in other volumes; in the published order they do not count.

    Raises:
        PromptError: no prompt, or one outside the volume or the range.
        ConfigurationError: an unknown order, or marks in the published one.
    """
    settings = settings or Settings(order=order)
    if settings.order not in ("independent", "published"):
        raise ConfigurationError(f"Unknown order {settings.order!r}: use 'independent' or 'published'.")
    features = features or FeatureCache(model, frames)
    _check_prompts(prompts, len(features), settings)
    objects = sorted(prompts)
    result = _empty_result(model, objects, len(features), out_size)
    counter = _Counter(progress, _slices_to_visit(prompts, len(features), settings))
    bounds, learnt = settings.bounds(len(features)), looks or {}
    own_recent_n = model.recent_n
    model.recent_n = recent_n or own_recent_n
    try:
        for column, obj in enumerate(objects):
            if settings.order == "published":
                tracked = _in_published_order(model, features, prompts[obj], settings, bounds, counter)
            else:
                tracker = SpanTracker(model, features, settings, bounds, counter.tick, learnt.get(obj))
                tracked = tracker.run(dict(prompts[obj]))
            _store_tracked(result, column, tracked)
    finally:
        model.recent_n = own_recent_n
    return result


def _in_published_order(
    model: SLMSAM2,
    features: FeatureCache,
    prompts: Mapping[int, Prompt],
    settings: Settings,
    bounds: tuple[int, int],
    counter: _Counter,
) -> Tracked:
    """Both directions of one object."""
    if any(isinstance(prompt, Marks) for prompt in prompts.values()):
        raise ConfigurationError(
            "The published order takes painted slices only: use 'independent' with clicks."
        )
    masks = {index: prompt for index, prompt in prompts.items() if not isinstance(prompt, Marks)}
    tracked = propagate_published(model, features, masks, settings, bounds, counter.tick)
    tracked.spans = spans_between(masks, bounds)
    return tracked


def _store_tracked(result: Propagation, column: int, tracked: Tracked) -> None:
    obj = result.objects[column]
    result.stops[obj], result.spans[obj], result.redone[obj] = tracked.stops, tracked.spans, tracked.redone
    for index, out in tracked.prompted.items():
        _store(result, index, column, out)
    for span in tracked.spans:
        for index in range(span.first, span.last + 1):
            both = [way[index] for way in (tracked.up, tracked.down) if index in way]
            if both:
                _store(result, index, column, blend(index, span, both))
            if len(both) == 2:
                result.agreement[index, column] = dice(
                    *((way["pred_masks"] > 0).cpu().numpy() for way in both)
                )


def _store(result: Propagation, index: int, column: int, out: SliceOutput) -> None:
    result.low_res[index, column] = out["pred_masks"][0, 0].float().cpu()
    result.object_score[index, column] = out["object_score_logits"][0, 0].float().cpu()
    result.iou[index, column] = out["iou"][0].float().cpu()
    result.visited[index, column] = True


def _empty_result(
    model: SLMSAM2, objects: list[int], num_slices: int, out_size: tuple[int, int]
) -> Propagation:
    size, count = model.image_size // 4, len(objects)
    return Propagation(
        objects=objects,
        low_res=absent_logits(size).expand(num_slices, count, size, size).clone(),
        object_score=torch.full((num_slices, count), ABSENT_SCORE),
        iou=torch.zeros(num_slices, count),
        agreement=torch.full((num_slices, count), torch.nan),
        visited=torch.zeros(num_slices, count, dtype=torch.bool),
        out_size=out_size,
    )


def _check_prompts(prompts: Prompts, num_slices: int, settings: Settings) -> None:
    low, high = settings.bounds(num_slices)
    if not 0 <= low <= high < num_slices:
        raise PromptError(
            f"The slice range {low} to {high} does not fit a volume of {num_slices} slices: choose one in it."
        )
    if not prompts or not all(_says_where(marked) for marked in prompts.values()):
        raise PromptError("Nothing is painted: paint the structure on at least one slice and try again.")
    outside = sorted({s for painted in prompts.values() for s in painted if not low <= s <= high})
    if outside:
        raise PromptError(
            f"Painted slices {outside} are outside the slice range {low} to {high}: widen it, or leave them out."
        )


def _says_where(prompts: Mapping[int, Prompt]) -> bool:
    return not all(is_empty(prompt) for prompt in prompts.values())


def _slices_to_visit(prompts: Prompts, num_slices: int, settings: Settings) -> int:
    bounds = settings.bounds(num_slices)
    if settings.order == "independent":
        return sum(slices_to_visit(dict(given), settings, bounds) for given in prompts.values())
    low, high = bounds
    total = 0
    for painted in prompts.values():
        first = min(painted)
        total += len(painted)
        total += settings.up * (high - first - sum(s > first for s in painted))
        total += settings.down * (first - low)
    return total


class _Counter:
    """Counts slices and tells the caller."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self._done = progress, total, 0

    def tick(self) -> None:
        self._done += 1
        self._total = max(self._total, self._done)
        if self._progress is not None:
            self._progress(self._done, self._total)
