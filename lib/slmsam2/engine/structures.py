"""Several structures of one volume, each in the region of the slices that suits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from slmsam2.engine.crossing import Crossings, lines_of, mix
from slmsam2.engine.features import DEFAULT_CACHE_BYTES, FeatureCache
from slmsam2.engine.interpolation import fill, taper, widen
from slmsam2.engine.others import follow_others
from slmsam2.engine.progress import Progress, Runs
from slmsam2.engine.propagation import Prompts, Propagation, propagate_frames
from slmsam2.engine.region_choice import choose_region
from slmsam2.engine.regions import Region, twice_as_wide
from slmsam2.engine.settings import Settings
from slmsam2.engine.workspace import Workspace
from slmsam2.modeling import SLMSAM2, InferenceSettings, Moments
from slmsam2.modeling.logits import peaks
from slmsam2.volume import Frames, Sections, Window

SMOOTHED_LIMIT = 1.5  # mask logits count as this much at most when they are smoothed
SMOOTHED_OUTSIDE = 2.2  # the surest outside a mask, before it is cut off to that


@dataclass(frozen=True, eq=False)
class Context:
    """What is known of structures beside their prompts: label value -> ...

    Attributes:
        regions: region of an earlier request, to be kept while all prompts lie in it.
        looks: what the structure looks like in other volumes.
        others: the structure itself there, or what is like it in this volume, along these slices.
        crossings: what was given and found in other planes.
    """

    regions: Mapping[int, Region] = field(default_factory=dict)
    looks: Mapping[int, Moments] = field(default_factory=dict)
    others: Mapping[int, Sequence[Sections]] = field(default_factory=dict)
    crossings: Crossings = field(default_factory=Crossings)


@dataclass(frozen=True)
class Found:
    """What was found of the structures that share a region.

    Attributes:
        propagation: its ``out_size`` is the region's size; its objects are label values.
        region: where it lies on the slices.
        encode_seconds: time spent in the image encoder.
    """

    propagation: Propagation
    region: Region
    encode_seconds: float

    def visited(self, index: int) -> set[int]:
        """The values of the structures whose propagation came to a slice."""
        columns = zip(self.propagation.objects, self.propagation.visited[index].tolist(), strict=True)
        return {value for value, there in columns if there}

    def slice_logits(self, index: int) -> dict[int, np.ndarray]:
        """value -> mask logits (H, W) of a whole slice, minus infinity outside the region."""
        logits = {}
        for value, inside in zip(self.propagation.objects, self.propagation.slice_logits(index), strict=True):
            logits[value] = np.full(self.region.shape, -np.inf, np.float32)
            self.region.cut(logits[value])[:] = inside.numpy()
        return logits

    def mask(self, value: int) -> np.ndarray:
        """Where one structure was found, bool (S, h, w), in the region."""
        column = self.propagation.objects.index(value)
        slices = range(len(self.propagation.low_res))
        return np.stack([(self.propagation.slice_logits(index)[column] > 0).numpy() for index in slices])


def propagate_structures(
    network: SLMSAM2,
    stack: np.ndarray,
    window: Window,
    prompts: Prompts,
    spacing: tuple[float, float, float],
    settings: Settings,
    context: Context | None = None,
    *,
    progress: Progress | None = None,
    workspace: Workspace | None = None,
) -> list[Found]:
    """Propagate each structure.

    Networks with a ``contrast`` are shown so many times that of the window. Those with a ``crop_margin`` see a region
    around what was painted, so that a small structure gets more of their few tokens; a structure that comes to the
    region's edge is propagated again in one twice as wide. Structures in the same region share the image encoder.
    Networks with ``interpolation`` get the shape between two prompts where they found nothing, masks too small for it
    widened, and ends where areas fall towards them; those with ``smoothing`` mask logits smoothed across slices. A
    structure known from other volumes ends as it does there, and is about as large and of about that shape.

    Args:
        stack: (S, H, W), real numbers.
        prompts: {value: {slice: bool (H, W), or marks}}.
        spacing: between slices, between rows and between columns, in mm.
        context: what else is known of them.
        progress: called with (slices done, slices to do as known so far).
        workspace: what earlier requests left, and later ones may use.
    """
    context = context or Context()
    window = window.with_contrast(network.inference.contrast)
    waiting: dict[Region, list[int]] = {}
    for value, given in prompts.items():
        lines = lines_of(context.crossings.given.get(value, {}), stack.shape)
        earlier = context.regions.get(value)
        region = choose_region(network, stack, window, given, lines, spacing[1:], earlier, workspace)
        waiting.setdefault(region, []).append(value)
    found: list[Found] = []
    counter = Runs(progress, len(waiting))
    while waiting:
        region, values = waiting.popitem()
        frames = Frames(region.cut(stack), window, network.image_size)
        # one structure painted on one slice passes each slice once: nothing to keep
        revisited = sum(len(prompts[value]) for value in values) > 1
        features = FeatureCache(network, frames, DEFAULT_CACHE_BYTES if revisited else 0, workspace)
        inside = {v: {s: region.cut_prompt(prompt) for s, prompt in prompts[v].items()} for v in values}
        result = propagate_frames(
            network,
            frames,
            inside,
            out_size=region.size,
            settings=settings,
            features=features,
            progress=counter.report,
            looks=context.looks,
        )
        counter.next()
        _refine(result, network.inference)
        if context.others:
            follow_others(result, context.others, result.mask_spacing(spacing))
        mix(result, region, prompts, context.crossings, spacing[0], settings)
        if not region.is_whole and _is_cut_off(result, region):
            waiting.setdefault(twice_as_wide(region, spacing[1:]), []).extend(values)
            counter.runs += 1
            continue
        found.append(Found(result, region, features.seconds))
    return found


def _refine(result: Propagation, inference: InferenceSettings) -> None:
    """Interpolate and smooth what the network said, as far as its settings ask for it, in place."""
    if inference.interpolation:
        fill(result)
    if inference.smoothing is not None:
        smooth(result, inference.smoothing)
    if inference.interpolation:
        widen(result)
        taper(result)


def smooth(result: Propagation, sigma: float) -> None:
    """Smooth each object's mask logits across slices, in place, by a Gaussian of ``sigma`` slices.

    Not within them: a mask is 64 pixels wide, and what is thin would be lost. Each span is smoothed by itself, with the
    prompted slices at its ends, so that a prompt has no effect beyond the next ones. Logits are limited first: of a
    slice of which the network is little sure, the clear "no" of its neighbours would else leave nothing.
    """
    for column, obj in enumerate(result.objects):
        logits = _limited(result.low_res[:, column]).numpy()
        for span in result.spans[obj]:
            low = span.first if span.low is None else span.low
            high = span.last if span.high is None else span.high
            if span.first <= span.last:
                smoothed = gaussian_filter1d(logits[low : high + 1], sigma, axis=0, mode="nearest")
                inside = smoothed[span.first - low : span.last + 1 - low]
                result.low_res[span.first : span.last + 1, column] = torch.from_numpy(inside)


def _limited(logits: Tensor) -> Tensor:
    """Mask logits (S, n, n) within +-SMOOTHED_LIMIT, with slopes like one another on both sides of a mask's edge.

    Of a slice's logits the surest inside counts as SMOOTHED_LIMIT at most, the surest outside as SMOOTHED_OUTSIDE: cut
    off only, a clear "no" would be a cliff beside a faint "yes", and smoothing would wear the mask away.
    """
    inside, outside = (peak[:, 0] for peak in peaks(logits[:, None]))
    slopes = torch.where(logits > 0, SMOOTHED_LIMIT / inside, SMOOTHED_OUTSIDE / outside).clamp_max(1)
    return (slopes * logits).clamp(-SMOOTHED_LIMIT, SMOOTHED_LIMIT)


def _is_cut_off(result: Propagation, region: Region) -> bool:
    visited = result.visited.any(dim=1).nonzero().flatten().tolist()
    return any(region.is_touched_by((result.slice_logits(s) > 0).any(dim=0).numpy()) for s in visited)
