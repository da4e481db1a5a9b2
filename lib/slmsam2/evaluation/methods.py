"""Ways to find a structure from one painted slice: the network, also beside structures that are alike and without its
short memory, and baselines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from skimage.registration import optical_flow_tvl1
from skimage.transform import warp

from slmsam2.engine import propagate_volume
from slmsam2.engine.regions import region_around
from slmsam2.evaluation.tasks import Task
from slmsam2.masks import occupied_slices
from slmsam2.metrics import repeat_slice
from slmsam2.modeling import SLMSAM2
from slmsam2.volume import choose_window

FLOW_MARGIN = 0.5  # room for the optical flow around the structure on all slices, times its longer side


@dataclass(frozen=True)
class Outcome:
    """What a method gives: mask, bool (I, J, K); slices it looked at; CPU seconds of this process."""

    mask: np.ndarray
    slices: int
    cpu_seconds: float


def network(task: Task, model: SLMSAM2, *, beside_kin: bool = False) -> Outcome:
    """Propagation with the default settings.

    Args:
        beside_kin: see :meth:`Task.label`.
    """
    given = task.label(task.painted, beside_kin=beside_kin)
    start = time.process_time()
    label, report = propagate_volume(
        task.image,
        given,
        model=model,
        axis=task.axis,
        structures=[task.structure],
        label_names=dict(task.values),
    )
    (structure,) = report["structures"].values()
    found = label == task.values[task.structure]
    return Outcome(found, structure["found"] + structure["empty"], time.process_time() - start)


def long_memory_only(task: Task, model: SLMSAM2) -> Outcome:
    """The same weights with SAM 2's memory alone: the short branch is off."""
    model.short_branch = False
    try:
        return network(task, model)
    finally:
        model.short_branch = True


def repeated(task: Task, _model: SLMSAM2) -> Outcome:
    """The painted slice as it is, on each slice of the true extent."""
    start = time.process_time()
    mask = repeat_slice(task.painted, task.axis, task.reference)
    return Outcome(mask, _extent(task).size, time.process_time() - start)


def optical_flow(task: Task, _model: SLMSAM2) -> Outcome:
    """The mask moved from slice to slice by scikit-image's TV-L1 optical flow, told the true extent in all axes."""
    start = time.process_time()
    window = choose_window(task.image, task.painted)
    stack = task.view.to_stack(task.image.array)
    masks = task.view.to_stack(task.painted).astype(np.float32)
    painted = task.view.stack_index(task.slice)
    everywhere = task.view.to_stack(task.reference).any(axis=0)
    region = region_around([everywhere], task.view.spacing[1:], FLOW_MARGIN)
    images = np.nan_to_num((region.cut(stack) - window.low) / window.width).clip(0, 1).astype(np.float32)
    inside = region.cut(masks)
    grid = np.mgrid[: region.size[0], : region.size[1]]
    extent = _extent(task)
    for route in (range(painted + 1, extent[-1] + 1), range(painted - 1, extent[0] - 1, -1)):
        for index in route:
            flow = optical_flow_tvl1(images[index], images[index - route.step])
            inside[index] = warp(inside[index - route.step], grid + flow, order=1, mode="edge")
    found = np.ascontiguousarray(task.view.to_stored(masks)) > 0.5
    return Outcome(found, extent.size, time.process_time() - start)


def _extent(task: Task) -> np.ndarray:
    """All slices of the stack from the reference's first to its last."""
    present = occupied_slices(task.view.to_stack(task.reference), axis=0)
    return np.arange(present[0], present[-1] + 1)


METHODS: dict[str, Callable[[Task, SLMSAM2], Outcome]] = {
    "slm_sam2": network,
    "beside_kin": partial(network, beside_kin=True),
    "long_memory_only": long_memory_only,
    "repeated_in_extent": repeated,
    "tvl1_flow_in_extent": optical_flow,
}
