"""How good an outcome is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from slmsam2.evaluation.methods import Outcome
from slmsam2.evaluation.tasks import Task
from slmsam2.masks import occupied_slices
from slmsam2.metrics import dice


@dataclass(frozen=True)
class Score:
    """One task by one method.

    Attributes:
        slice: the painted slice, as stored.
        reference_slices: slices the reference is on.
        dice: of the whole volume, the painted slice included.
        hd95: 95 % Hausdorff distance in mm; infinite when nothing was found.
        over_low, over_high: slices drawn below the reference's first and above its last one.
        missed_low, missed_high: slices of the reference not reached at its low and its high end.
        cpu_seconds_per_slice: of the slices that the method looked at.
    """

    volume: str
    structure: str
    prompt: str
    method: str
    slice: int
    reference_slices: int
    dice: float
    hd95: float
    over_low: int
    over_high: int
    missed_low: int
    missed_high: int
    slices: int
    cpu_seconds_per_slice: float


def score(task: Task, method: str, outcome: Outcome) -> Score:
    """Compare an outcome with the reference."""
    reference_slices = occupied_slices(task.reference, task.axis)
    first, last = int(reference_slices[0]), int(reference_slices[-1])
    # the painted slice is always in, so that there are ends
    found = occupied_slices(outcome.mask | task.painted, task.axis)
    found_first, found_last = int(found[0]), int(found[-1])
    return Score(
        volume=task.volume_name,
        structure=task.structure,
        prompt=task.prompt,
        method=method,
        slice=task.slice,
        reference_slices=len(reference_slices),
        dice=dice(outcome.mask, task.reference),
        hd95=hausdorff95(outcome.mask, task.reference, task.image.spacing),
        over_low=max(first - found_first, 0),
        over_high=max(found_last - last, 0),
        missed_low=max(found_first - first, 0),
        missed_high=max(last - found_last, 0),
        slices=outcome.slices,
        cpu_seconds_per_slice=outcome.cpu_seconds / max(outcome.slices, 1),
    )


def hausdorff95(found: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """MONAI's 95 % Hausdorff distance of two masks, bool (I, J, K), in mm; infinite when one is empty."""
    from monai.metrics import compute_hausdorff_distance  # takes seconds, and others here do without

    if not found.any() or not reference.any():
        return float("inf")
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(found | reference))
    one, other = (torch.from_numpy(np.pad(mask[box], 1))[None, None] for mask in (found, reference))
    distance = compute_hausdorff_distance(
        one, other, include_background=True, percentile=95, spacing=list(spacing)
    )
    return float(distance)
