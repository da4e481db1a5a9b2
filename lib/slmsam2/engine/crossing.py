"""What was given in other planes than that of the slices, and what is found from there.

A stack (S, H, W) can be cut along its rows (dimension 1), into planes (S, W), and along its columns (2), into planes
(S, H). A structure that is given on such planes is propagated along them as well, and what is found is mixed with what
was found from slice to slice: each counts as much as is expected of it, and the less the farther it is from what was
given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from slmsam2.engine.confidence import Calibration, expected_dice, slice_facts
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.regions import Region
from slmsam2.engine.settings import Settings
from slmsam2.engine.spans import BLEND_LIMIT
from slmsam2.metrics import dice
from slmsam2.prompts import Across, Prompt, extent_of
from slmsam2.volume import SliceView

DIMENSIONS = (1, 2)  # rows, columns
NEARNESS = 0.5  # exponent of the distance from what was given
LEAST_WEIGHT = 1e-12
LOOKS = 64  # planes at most that a structure as thick as it is wide is looked at on


@dataclass(frozen=True, eq=False)
class Crossing:
    """A structure as it was found along another dimension of the stack.

    Attributes:
        dimension: 1 or 2.
        logits: float (S', H', W') mask logits; in the order of the stack, but one sample per plane along ``dimension``,
            and as many as the network's masks have along the other two.
        planes: (P,) which these are: ascending rows or columns of the stack.
        ranges: first and last (exclusive) slice, row and column that the other samples are spread over.
        confidence: (P,) expected Dice coefficient on each plane, 0 where the propagation did not come to.
        weights: (P,) how much each plane counts.
        is_new: whether anything of it was computed for this request.
    """

    dimension: int
    logits: np.ndarray
    planes: np.ndarray
    ranges: tuple[tuple[int, int], ...]
    confidence: np.ndarray
    weights: np.ndarray
    is_new: bool

    def at(self, places: Sequence[np.ndarray]) -> np.ndarray:
        """Mask logits at the crossings of slices, rows and columns, each a list of places in pixels' centres."""
        values = self.logits
        for dimension, (wanted, (first, last)) in enumerate(zip(places, self.ranges, strict=True)):
            samples = (wanted - first + 0.5) * values.shape[dimension] / (last - first) - 0.5
            if dimension == self.dimension:
                samples = np.interp(wanted, self.planes, np.arange(len(self.planes)))
            values = _sampled(values, samples, dimension)
        for dimension, (wanted, (first, last)) in enumerate(zip(places, self.ranges, strict=True)):
            outside = (wanted < first - 0.5) | (wanted > last - 0.5)
            values[(slice(None),) * dimension + (outside,)] = -BLEND_LIMIT
        return values

    def along(self, per_plane: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
        """Numbers of the planes, (P,), at these places: broadcast against what :meth:`at` gives."""
        values = np.interp(places[self.dimension], self.planes, per_plane)
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


def on_slice(dimension: int, index: int | slice) -> tuple[slice | int, ...]:
    """The row (dimension 1) or column (2) of that number, or several, as an index into (H, W)."""
    return (index,) if dimension == 1 else (slice(None), index)


def lines_on(index: int, across: Across, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of slice ``index`` of a stack (S, H, W) that are given, and where the structure is on them:
    bool (H, W) twice."""
    given, inside = np.zeros((2, *shape[1:]), bool)
    for dimension, planes in across.items():
        for line, mask in planes.items():
            given[on_slice(dimension, line)] = True
            inside[on_slice(dimension, line)] |= mask[index]
    return given, inside


def beyond_ends(across: Across, prompts: Mapping[int, Prompt], shape: tuple[int, ...]) -> np.ndarray:
    """Bool (H, W): rows and columns that a structure does not come to, as it was said not to be on one before.

    It ends on a plane without it, as on a slice without it, if all that is given of it lies on one side.
    """
    shown = lines_of(across, shape)
    for prompt in prompts.values():
        shown |= extent_of(prompt)
    beyond = np.zeros(shape[1:], bool)
    for dimension, planes in across.items():
        there = np.flatnonzero(shown.any(axis=2 - dimension))
        for index in (index for index, mask in planes.items() if not mask.any()):
            if there.size and there[-1] < index:
                beyond[on_slice(dimension, slice(index, None))] = True
            elif there.size and there[0] > index:
                beyond[on_slice(dimension, slice(index))] = True
    return beyond


def planes_between(
    given: Mapping[int, np.ndarray], count: int, spacing: tuple[float, float, float]
) -> list[int]:
    """The planes to look at, ascending: the given ones, and others no closer than a share of the structure's size.

    Slices of a CT may be 3 mm apart, its pixels 0.7 mm: from each row of pixels to the next, a structure would take
    four times as long along rows, and be found no better.

    Args:
        given: plane -> what is given there, bool (h, w), of which one is not empty.
        count: how many planes there are.
        spacing: between planes, between rows and between columns of these, mm.
    """
    sizes = [
        mm * (np.ptp(np.flatnonzero(mask.any(axis=1 - axis))) + 1)
        for mask in given.values()
        if mask.any()
        for axis, mm in enumerate(spacing[1:])
    ]
    stride = max(int(max(sizes) / LOOKS / spacing[0]), 1)
    return sorted({*range(0, count, stride), *given})


def crossing_of(
    propagation: Propagation,
    region: Region,
    prompts: Mapping[int, np.ndarray],
    planes: Sequence[int],
    view: SliceView,
    dimension: int,
    calibration: Calibration | None,
) -> Crossing:
    """What the propagation of one structure along another dimension found.

    Args:
        propagation, region: of planes of ``view.across(dimension)``, and of that structure alone.
        prompts: {number among these planes: mask}, as propagated.
        planes: which ones they are, ascending slices of that view.
        view: the stack.
    """
    other = view.across(dimension)
    (value,) = propagation.objects
    ranges = tuple(_range_in(view, other, region, each) for each in range(3))
    along = np.array([view.stack_index(other.stored_index(plane), dimension) for plane in planes])
    places = other.spacing[0] * np.array(planes)
    facts = _counting(propagation, value, prompts, places, calibration)
    confidence, weights = (each[np.argsort(along)] for each in facts)
    logits = propagation.low_res[:, 0].clamp(-BLEND_LIMIT, BLEND_LIMIT).numpy()
    turned = view.to_stack(other.to_stored(logits))
    is_new = bool(propagation.redone[value])
    return Crossing(dimension, turned, np.sort(along), ranges, confidence, weights, is_new)


def mix(
    result: Propagation,
    region: Region,
    prompts: Mapping[int, Mapping[int, Prompt]],
    crossings: Crossings,
    spacing: float,
    settings: Settings,
) -> None:
    """Mix what was found from slice to slice with what was found along other dimensions, in place.

    What was given on slices stays, and so do slices that the propagation was told not to go to. ``result.expected``
    says what Dice coefficients are expected of the mixture.

    Args:
        result: in ``region``.
        prompts: {object: {slice: prompt}}, as propagated.
        crossings: what was found along others.
        spacing: between slices, mm.
        settings: how ``result`` was propagated.
    """
    places = _places(result, region)
    for column, obj in enumerate(result.objects):
        found = crossings.found.get(obj)
        if not found:
            continue
        heights = spacing * np.arange(len(result.low_res))
        confidence, weights = _counting(result, obj, prompts[obj], heights, crossings.calibration)
        alone = result.low_res[:, column].clamp(-BLEND_LIMIT, BLEND_LIMIT).numpy()
        mixture = _Mixture(alone.shape)
        mixture.add(alone, weights[:, None, None], confidence[:, None, None])
        for crossing in found:
            counts, sure = (crossing.along(each, places) for each in (crossing.weights, crossing.confidence))
            mixture.add(crossing.at(places), counts, sure)
        kept = settings.untouched(prompts[obj], len(alone)) | prompts[obj].keys()
        free = sorted(set(range(len(alone))) - kept)
        result.low_res[free, column] = torch.from_numpy(mixture.logits[free]).float()
        masks = result.low_res[:, column].numpy() > 0
        result.expected[obj] = mixture.expected(masks, alone > 0)
        result.visited[free, column] |= torch.from_numpy(masks[free].any(axis=(1, 2)))
        if any(crossing.is_new for crossing in found):
            result.redone[obj].update(index for index in free if mixture.anywhere[index].any())


class _Mixture:
    """Mask logits (S, n, n) from several sides, each with its weights and confidence."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sum, self._weights, self._yes, self._best = np.zeros((4, *shape), np.float32)
        self.anywhere = np.zeros(shape, bool)
        """Where any side has found something."""

    def add(self, logits: np.ndarray, weights: np.ndarray, confidence: np.ndarray) -> None:
        """One more side; the latter two are broadcast against its logits (S, n, n)."""
        self._sum += weights * logits
        self._weights += weights
        self._yes += weights * (logits > 0)
        self.anywhere |= (logits > 0) & (weights > 0)
        np.maximum(self._best, confidence, out=self._best)

    @property
    def logits(self) -> np.ndarray:
        """The mean, where anything counts."""
        mean: np.ndarray = self._sum / np.maximum(self._weights, LEAST_WEIGHT)
        return np.where(self._weights > 0, mean, -BLEND_LIMIT)

    def expected(self, masks: np.ndarray, alone: np.ndarray) -> np.ndarray:
        """The Dice coefficients (S,) to be expected.

        Where something is left: the mean of the largest confidence there, of the Dice coefficient with what was found
        from slice to slice, and of the share that it is of all that any side has found. Where nothing is: the share of
        those that say so, where some do not. On 32 structures with one to three corrections in other planes their rank
        correlation with the true ones was 0.73, 0.68 and 0.68.

        Args:
            masks, alone: bool (S, n, n), what is left, and what was found from slice to slice.
        """
        expected = np.ones(len(masks))
        for index, (mask, anywhere) in enumerate(zip(masks, self.anywhere, strict=True)):
            if mask.any():
                share = np.count_nonzero(mask & anywhere) / np.count_nonzero(mask | anywhere)
                sure = float(self._best[index][mask].mean())
                expected[index] = (sure + dice(mask, alone[index]) + share) / 3
            elif anywhere.any():
                yes = self._yes[index][anywhere] / np.maximum(self._weights[index][anywhere], LEAST_WEIGHT)
                expected[index] = 1 - yes.mean()
        return expected


def _counting(
    propagation: Propagation,
    obj: int,
    prompts: Mapping[int, Prompt],
    places: np.ndarray,
    calibration: Calibration | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Expected Dice coefficients, and how much slices count, both (S,): 0 where the propagation did not come to.

    Args:
        places: (S,) of the slices, in mm.
    """
    facts = slice_facts(propagation, obj, prompts)
    confidence = np.zeros(len(propagation.low_res))
    confidence[facts.slices] = expected_dice(facts, calibration)
    apart = np.abs(places[:, None] - places[sorted(prompts)]).min(axis=1)
    step = places[-1] / (len(places) - 1) if len(places) > 1 else 1.0
    return confidence, confidence / (apart + step / 2) ** NEARNESS


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
