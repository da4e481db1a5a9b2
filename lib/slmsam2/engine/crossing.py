"""What was given in other planes than that of the slices, and what is found from there.

A stack (S, H, W) can be cut along its rows (dimension 1), into planes (S, W), and along its columns (2), into planes
(S, H). A structure that is given on such planes is propagated along them as well, and what is found is mixed with what
was found from slice to slice: each counts as much as is expected of it, and the less the farther it is from what was
given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from slmsam2.engine.confidence import Calibration, expected_dice, slice_facts
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.regions import Region
from slmsam2.engine.spans import BLEND_LIMIT
from slmsam2.metrics import dice
from slmsam2.prompts import Across, Prompt
from slmsam2.volume import SliceView

DIMENSIONS = (1, 2)  # rows, columns
NEARNESS = 0.5  # exponent of the distance from what was given
LEAST_WEIGHT = 1e-12


@dataclass(frozen=True, eq=False)
class Crossing:
    """A structure as it was found along another dimension of the stack.

    Attributes:
        dimension: 1 or 2.
        logits: float (S', H', W') mask logits; in the order of the stack, but one sample per plane along ``dimension``,
            and as many as the network's masks have along the other two.
        ranges: first and last (exclusive) slice, row and column that the samples are spread over.
        confidence: (P,) expected Dice coefficient on each plane, 0 where the propagation did not come to.
        weights: (P,) how much each plane counts.
        is_new: whether anything of it was computed for this request.
    """

    dimension: int
    logits: np.ndarray
    ranges: tuple[tuple[int, int], ...]
    confidence: np.ndarray
    weights: np.ndarray
    is_new: bool

    def at(self, places: Sequence[np.ndarray]) -> np.ndarray:
        """Mask logits at the crossings of slices, rows and columns, each a list of places in pixels' centres."""
        values = self.logits
        for dimension, (wanted, (first, last)) in enumerate(zip(places, self.ranges, strict=True)):
            samples = (wanted - first + 0.5) * values.shape[dimension] / (last - first) - 0.5
            values = _sampled(values, samples, dimension)
        for dimension, (wanted, (first, last)) in enumerate(zip(places, self.ranges, strict=True)):
            outside = (wanted < first - 0.5) | (wanted > last - 0.5)
            values[(slice(None),) * dimension + (outside,)] = -BLEND_LIMIT
        return values

    def along(self, per_plane: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
        """Numbers of the planes, (P,), at these places: broadcast against what :meth:`at` gives."""
        values = np.interp(places[self.dimension], np.arange(len(per_plane)), per_plane)
        return np.expand_dims(values, tuple(d for d in range(3) if d != self.dimension))


@dataclass(frozen=True)
class Crossings:
    """What is known of structures from other planes.

    Attributes:
        given: value -> what was given there.
        found: value -> what was found along these planes.
        calibration: of the confidence.
    """

    given: Mapping[int, Across] = field(default_factory=dict)
    found: Mapping[int, Sequence[Crossing]] = field(default_factory=dict)
    calibration: Calibration | None = None


def lines_of(across: Across, shape: tuple[int, ...]) -> np.ndarray:
    """Bool (H, W): where something is given in other planes of a stack (S, H, W), on any of its slices."""
    lines = np.zeros(shape[1:], bool)
    for dimension, planes in across.items():
        for index, mask in planes.items():
            lines[on_slice(dimension, index)] |= mask.any(axis=0)
    return lines


def on_slice(dimension: int, index: int) -> tuple[slice, int] | int:
    """The row (dimension 1) or column (2) of that number, as an index into (H, W)."""
    return index if dimension == 1 else (slice(None), index)


def lines_on(index: int, across: Across, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of slice ``index`` of a stack (S, H, W) that are given, and where the structure is on them:
    bool (H, W) twice."""
    given, inside = np.zeros((2, *shape[1:]), bool)
    for dimension, planes in across.items():
        for line, mask in planes.items():
            given[on_slice(dimension, line)] = True
            inside[on_slice(dimension, line)] |= mask[index]
    return given, inside


def crossings_of(
    propagation: Propagation,
    region: Region,
    prompts: Mapping[int, Mapping[int, np.ndarray]],
    view: SliceView,
    dimension: int,
    calibration: Calibration | None,
) -> Iterator[tuple[int, Crossing]]:
    """What a propagation along another dimension found.

    Args:
        propagation, region: of ``view.across(dimension)``; its objects are label values.
        prompts: value -> {plane of that view: mask}, as propagated.
        view: the stack.

    Yields:
        Value, crossing.
    """
    other = view.across(dimension)
    ranges = tuple(_range_in(view, other, region, each) for each in range(3))
    for column, value in enumerate(propagation.objects):
        logits = propagation.low_res[:, column].clamp(-BLEND_LIMIT, BLEND_LIMIT).numpy()
        confidence, weights = _counting(propagation, value, prompts[value], other.spacing[0], calibration)
        if other.stored_index(0) != view.stored_index(0, dimension):
            confidence, weights = confidence[::-1], weights[::-1]
        turned = view.to_stack(other.to_stored(logits))
        is_new = bool(propagation.redone[value])
        yield value, Crossing(dimension, turned, ranges, confidence, weights, is_new)


def mix(
    result: Propagation,
    region: Region,
    prompts: Mapping[int, Mapping[int, Prompt]],
    crossings: Crossings,
    spacing: float,
) -> None:
    """Mix what was found from slice to slice with what was found along other dimensions, in place.

    What was given on slices stays. ``result.expected`` says what Dice coefficients are expected of the mixture.

    Args:
        result: in ``region``.
        prompts: {object: {slice: prompt}}, as propagated.
        crossings: what was found along others.
        spacing: between slices, mm.
    """
    places = _places(result, region)
    for column, obj in enumerate(result.objects):
        found = crossings.found.get(obj)
        if not found:
            continue
        own, weights = _counting(result, obj, prompts[obj], spacing, crossings.calibration)
        alone = result.low_res[:, column].clamp(-BLEND_LIMIT, BLEND_LIMIT).numpy()
        weights, best = (np.broadcast_to(each[:, None, None], alone.shape).copy() for each in (weights, own))
        mixed, yes, anywhere = weights * alone, weights * (alone > 0), alone > 0
        for crossing in found:
            logits, counts = crossing.at(places), crossing.along(crossing.weights, places)
            mixed += counts * logits
            weights += counts
            yes += counts * (logits > 0)
            anywhere |= (logits > 0) & (counts > 0)
            np.maximum(best, crossing.along(crossing.confidence, places), out=best)
        total = np.maximum(weights, LEAST_WEIGHT)
        mixed = np.where(weights > 0, mixed / total, -BLEND_LIMIT)
        free = [index for index in range(len(mixed)) if index not in prompts[obj]]
        result.low_res[free, column] = torch.from_numpy(mixed[free]).float()
        result.visited[:, column] |= (result.low_res[:, column] > 0).any(dim=2).any(dim=1)
        if any(crossing.is_new for crossing in found):
            result.redone[obj].update(
                set(np.flatnonzero(anywhere.any(axis=(1, 2))).tolist()).intersection(free)
            )
        masks = result.low_res[:, column].numpy() > 0
        expected = [
            _expected(*of_slice)
            for of_slice in zip(masks, alone > 0, anywhere, yes / total, best, strict=True)
        ]
        result.expected[obj] = np.array(expected)


def _expected(
    mask: np.ndarray, alone: np.ndarray, anywhere: np.ndarray, yes: np.ndarray, best: np.ndarray
) -> float:
    """The Dice coefficient to be expected of a slice of a mixture.

    Where something is left: the mean of the largest confidence there, of the Dice coefficient with what was found from
    slice to slice, and of the share that it is of all that was found along any dimension. Where nothing is: the share
    of those that say so, where some do not. On 32 structures with one to three corrections in other planes the rank
    correlation with the true one was 0.73, 0.71 and 0.70.

    Args:
        mask, alone, anywhere: bool (n, n), the mixture, what was found from slice to slice, and along any dimension.
        yes: (n, n), the share of those that say that the structure is there.
        best: (n, n), the largest expected Dice coefficient of the planes that meet there.
    """
    if mask.any():
        return (
            float(best[mask].mean() + dice(mask, alone) + (mask & anywhere).sum() / (mask | anywhere).sum())
            / 3
        )
    return 1 - float(yes[anywhere].mean()) if anywhere.any() else 1.0


def _counting(
    propagation: Propagation,
    obj: int,
    prompts: Mapping[int, Prompt],
    spacing: float,
    calibration: Calibration | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected Dice coefficients, and how much slices count, both (S,): 0 where the propagation did not come to."""
    facts = slice_facts(propagation, obj, prompts)
    confidence = np.zeros(len(propagation.low_res))
    confidence[facts.slices] = expected_dice(facts, calibration)
    slices = np.arange(len(confidence))
    apart = np.abs(slices[:, None] - np.array(sorted(prompts))).min(axis=1)
    return confidence, confidence / ((apart + 0.5) * spacing) ** NEARNESS


def _places(result: Propagation, region: Region) -> list[np.ndarray]:
    """Where the mask logits (S, n, n) of a region lie: slices, rows and columns of the stack, in pixels' centres."""
    size = result.low_res.shape[-1]
    edges = ((region.top, region.bottom), (region.left, region.right))
    in_plane = [low + (np.arange(size) + 0.5) * (high - low) / size - 0.5 for low, high in edges]
    return [np.arange(len(result.low_res), dtype=float), *in_plane]


def _range_in(view: SliceView, other: SliceView, region: Region, dimension: int) -> tuple[int, int]:
    """First and last (exclusive) slice, row or column of the stack ``view`` that planes of ``other`` were looked at."""
    length = (view.num_slices, *view.slice_shape)[dimension]
    along = other.order.index(view.order[dimension])
    low, high = ((0, length), (region.top, region.bottom), (region.left, region.right))[along]
    is_same_way = other.stored_index(0, along) == view.stored_index(0, dimension)
    return (low, high) if is_same_way else (length - high, length - low)


def _sampled(values: np.ndarray, places: np.ndarray, dimension: int) -> np.ndarray:
    """Linear interpolation between samples of an array along one dimension, beyond the outermost these."""
    places = places.clip(0, values.shape[dimension] - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, values.shape[dimension] - 1)
    share = np.expand_dims((places - low).astype(np.float32), tuple(d for d in range(3) if d != dimension))
    return (1 - share) * values.take(low, dimension) + share * values.take(high, dimension)
