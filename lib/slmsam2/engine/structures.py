"""Several structures of one volume, each in the region of the slices that suits it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from slmsam2.engine.features import DEFAULT_CACHE_BYTES, FeatureCache
from slmsam2.engine.propagation import (
    BLEND_LIMIT,
    Progress,
    Prompts,
    Propagation,
    Settings,
    propagate_frames,
)
from slmsam2.engine.regions import Region, region_around, twice_as_wide, whole_slices
from slmsam2.modeling import SLMSAM2
from slmsam2.volume import Frames, Window


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

    def slice_logits(self, index: int) -> dict[int, np.ndarray]:
        """value -> mask logits (H, W) of a whole slice, minus infinity outside the region."""
        logits = {}
        for value, inside in zip(self.propagation.objects, self.propagation.slice_logits(index), strict=True):
            logits[value] = np.full(self.region.shape, -np.inf, np.float32)
            self.region.cut(logits[value])[:] = inside.numpy()
        return logits


def propagate_structures(
    network: SLMSAM2,
    stack: np.ndarray,
    window: Window,
    prompts: Prompts,
    spacing: tuple[float, float],
    settings: Settings,
    progress: Progress | None = None,
) -> list[Found]:
    """Propagate each structure.

    Networks with a ``crop_margin`` see a region around what was painted, so that a small structure gets more of
    their few tokens. A structure that comes to the region's edge is propagated again in one twice as wide.
    Structures in the same region share the image encoder. Networks with ``smoothing`` get their mask logits smoothed
    within and between slices.

    Args:
        stack: (S, H, W), real numbers.
        prompts: {value: {slice: bool (H, W)}}.
        spacing: between rows and between columns, in mm.
        progress: called with (slices done, slices to do as known so far).
    """
    inference = network.info["inference"]
    margin = inference.get("crop_margin")
    waiting = _by_region(prompts, spacing, margin)
    found: list[Found] = []
    counter = _Counter(progress, len(waiting))
    while waiting:
        region, values = waiting.popitem()
        frames = Frames(region.cut(stack), window, network.image_size)
        # one structure painted on one slice passes each slice once: nothing to keep
        revisited = sum(len(prompts[value]) for value in values) > 1
        features = FeatureCache(network, frames, DEFAULT_CACHE_BYTES if revisited else 0)
        inside = {v: {s: region.cut(mask) for s, mask in prompts[v].items()} for v in values}
        result = propagate_frames(
            network,
            frames,
            inside,
            out_size=region.size,
            settings=settings,
            features=features,
            progress=counter.report,
        )
        counter.next()
        if "smoothing" in inference:
            smooth(result, inference["smoothing"])
        if not region.is_whole and _is_cut_off(result, region):
            waiting.setdefault(twice_as_wide(region, spacing), []).extend(values)
            counter.runs += 1
            continue
        found.append(Found(result, region, features.seconds))
    return found


def _by_region(
    prompts: Prompts, spacing: tuple[float, float], margin: float | None
) -> dict[Region, list[int]]:
    regions: dict[Region, list[int]] = {}
    for value, painted in prompts.items():
        masks = list(painted.values())
        region = whole_slices(masks[0]) if margin is None else region_around(masks, spacing, margin)
        regions.setdefault(region, []).append(value)
    return regions


def smooth(result: Propagation, sigma: float) -> None:
    """Smooth each object's mask logits in place, by a Gaussian of ``sigma`` slices and mask pixels.

    Logits are clamped first, so that "absent" weighs no more than a clear "no".
    """
    for column in range(len(result.objects)):
        logits = result.low_res[:, column].clamp(-BLEND_LIMIT, BLEND_LIMIT)
        result.low_res[:, column] = torch.from_numpy(gaussian_filter(logits.numpy(), sigma))


def _is_cut_off(result: Propagation, region: Region) -> bool:
    visited = result.visited.any(dim=1).nonzero().flatten().tolist()
    return any(region.is_touched_by((result.slice_logits(s) > 0).any(dim=0).numpy()) for s in visited)


class _Counter:
    """Progress over several runs, each taken to be as long as the present one."""

    def __init__(self, progress: Progress | None, runs: int):
        self._progress, self.runs = progress, runs
        self._before = self._done = self._run = 0

    def report(self, done: int, total: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(self._before + done, self._before + total * (self.runs - self._run))

    def next(self) -> None:
        self._before += self._done
        self._run += 1
