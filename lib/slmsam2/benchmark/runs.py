"""Runs of variants in processes of their own, and what they cost."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from slmsam2.benchmark.gpu import gpu_peak_mib, matrix_product_rate, operations, wait_for
from slmsam2.benchmark.memory import peak_mib
from slmsam2.benchmark.variants import Variant, build_variant
from slmsam2.engine import Workspace, propagate_volume
from slmsam2.evaluation.tasks import Task
from slmsam2.masks import only_slice
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.volume import Frames, choose_window

logger = logging.getLogger(__name__)

WARM_UP = 9  # slices: as many as fill the memory bank
FIRST, AGAIN, FURTHER, ALL = "first run", "re-run", "a further structure", "several structures at once"


@dataclass(frozen=True)
class Cost:
    """What one run cost.

    Attributes:
        variant, image_size: label of the variant and its size at "quality"; 0: the configuration's own.
        run: FIRST; AGAIN: another slice of the same structure is painted instead; FURTHER: another structure on the
            same slices; ALL: as many as ``structures`` says in one request on a volume not seen before.
        slices: that were propagated to.
        cpu_seconds: of the process, per slice.
        wall_seconds: altogether.
        ratio: of CPU seconds to those of the group's first variant in its first run.
        peak_mib: of the process so far, weights and libraries included.
        agreement: Dice coefficient with the masks of the group's first variant.
    """

    variant: str
    image_size: int
    run: str
    structures: int
    slices: int
    cpu_seconds: float
    wall_seconds: float
    ratio: float
    peak_mib: float
    agreement: float


@dataclass(frozen=True)
class GpuCost(Cost):
    """What one run cost on a GPU, once its kernels were loaded.

    ``ratio`` is of wall time there, and ``peak_mib`` what tensors took of the GPU's memory at most during the run,
    weights included.

    Attributes:
        milliseconds: of wall time, per slice.
        share_of_peak: of the rate at which the GPU multiplies large matrices in bfloat16, what the first run reached;
            NaN for the others.
    """

    milliseconds: float
    share_of_peak: float


@dataclass(frozen=True)
class _Run:
    run: str
    structures: int
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    masks: np.ndarray  # bool (structures, I, J, K)
    share_of_peak: float = float("nan")


def measure(
    group: Sequence[Variant],
    tasks: Sequence[Task],
    slices: int,
    threads: int,
    folder: Path,
    device: torch.device,
) -> list[Cost]:
    """Run each variant of a group.

    On a GPU, a variant that fails is left out, and what went wrong is logged; the others go on.

    Args:
        group: the first is what the others are compared with.
        tasks: structures of one volume; the first is the one of single runs.
        slices: how many are propagated to from the first one's painted slice on, towards the end of the volume that is
            farther; as many as there are, or more: all of the volume (of no use beside SAM 2, which goes one way).
        threads: of each process.
        folder: for random weights.
        device: of the networks.
    """
    costs: list[Cost] = []
    reference: list[_Run] = []
    slices = min(slices, tasks[0].image.shape[tasks[0].axis])
    for variant, runs in _runs_of(group, (list(tasks), slices, threads, folder, device)):
        reference = reference or runs
        costs += [_cost(variant, run, slices, reference, device) for run in runs]
    return costs


def _runs_of(group: Sequence[Variant], how: tuple[Any, ...]) -> Iterator[tuple[Variant, list[_Run]]]:
    """The runs of each variant.

    On the CPU each has a process of its own, whose memory is looked at. On a GPU they share one, which says of each run
    what memory it took; after a failure the next ones get a new one.
    """
    device: torch.device = how[-1]
    waiting = list(group)
    while waiting:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            alone = device.type == "cpu"
            while waiting:
                variant = waiting.pop(0)
                try:
                    runs = process.submit(_run_variant, variant, *how).result()
                except Exception:
                    if alone:
                        raise
                    logger.exception("%s failed on %s", variant.label, device)
                    break
                yield variant, runs
                if alone:
                    break


def _cost(variant: Variant, run: _Run, slices: int, reference: Sequence[_Run], device: torch.device) -> Cost:
    same = {other.run: other.masks for other in reference}
    cost = Cost(
        variant=variant.label,
        image_size=variant.image_size or 0,
        run=run.run,
        structures=run.structures,
        slices=slices,
        cpu_seconds=run.cpu_seconds / slices,
        wall_seconds=run.wall_seconds,
        ratio=run.cpu_seconds / reference[0].cpu_seconds,
        peak_mib=run.peak_mib,
        agreement=dice(run.masks, same[run.run]) if run.run in same else float("nan"),
    )
    if device.type == "cpu":
        return cost
    wall = {"ratio": run.wall_seconds / reference[0].wall_seconds}
    milliseconds = 1000 * run.wall_seconds / slices
    return GpuCost(**asdict(cost) | wall, milliseconds=milliseconds, share_of_peak=run.share_of_peak)


def _run_variant(
    variant: Variant, tasks: list[Task], slices: int, threads: int, folder: Path, device: torch.device
) -> list[_Run]:
    torch.set_num_threads(threads)
    gc.collect()  # the network of the variant before, in cycles of references
    network = build_variant(variant, folder, device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=variant.autocast):
        if device.type == "cpu":
            return _all_runs(network, tasks, slices)
        _first_run(network, tasks[0], min(slices, WARM_UP))
        first, *others = _all_runs(network, tasks, slices)
        rate = operations(lambda: _first_run(network, tasks[0], slices)) / first.wall_seconds
        return [replace(first, share_of_peak=rate / matrix_product_rate(device)), *others]


def _first_run(network: SLMSAM2 | SAM2VideoPredictor, task: Task, slices: int) -> np.ndarray:
    """The masks of FIRST, with nothing kept for later runs."""
    if isinstance(network, SAM2VideoPredictor):
        return _by_sam2(network, task, slices)
    return _Visited(network, task, slices).propagate([task])


def _all_runs(network: SLMSAM2 | SAM2VideoPredictor, tasks: list[Task], slices: int) -> list[_Run]:
    if isinstance(network, SAM2VideoPredictor):
        return [_timed(FIRST, tasks[:1], network.device, lambda: _first_run(network, tasks[0], slices))]
    return _by_ours(network, tasks, slices)


def _by_ours(network: SLMSAM2, tasks: list[Task], slices: int) -> list[_Run]:
    volume, device = _Visited(network, tasks[0], slices), network.device
    runs = [_timed(FIRST, tasks[:1], device, lambda: volume.propagate(tasks[:1]))]
    runs.append(_timed(AGAIN, tasks[:1], device, lambda: volume.propagate(tasks[:1], later=1)))
    if len(tasks) > 1:
        runs.append(_timed(FURTHER, tasks[1:2], device, lambda: volume.propagate(tasks[1:2])))
        anew = _Visited(network, tasks[0], slices)
        runs.append(_timed(ALL, tasks, device, lambda: anew.propagate(tasks)))
    return runs


def _timed(name: str, tasks: Sequence[Task], device: torch.device, run: Callable[[], np.ndarray]) -> _Run:
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    wait_for(device)
    cpu, wall = time.process_time(), time.perf_counter()
    masks = run()
    wait_for(device)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return _Run(name, len(tasks), cpu, wall, gpu_peak_mib(device) if on_gpu else peak_mib(), masks)


def _route(task: Task, slices: int) -> list[int]:
    """Stored slices, the painted one first, towards the farther end of the volume; all, when that many are wanted."""
    count = task.image.shape[task.axis]
    step = 1 if task.slice < count // 2 else -1
    route = list(range(task.slice, count if step > 0 else -1, step))
    behind = range(task.slice - step, -1 if step > 0 else count, -step)
    return [*route, *behind] if slices >= count else route[:slices]


class _Visited:
    """A volume that one annotator works on, as the server keeps it: image features, passes, and the regions looked at.

    Args:
        task: its painted slice is where the slices to propagate to begin.
        slices: how many.
    """

    def __init__(self, network: SLMSAM2, task: Task, slices: int) -> None:
        self._network, self._image, self._axis = network, task.image, task.axis
        self._route = _route(task, slices)
        self._workspace = Workspace()
        self._regions: dict[str, Sequence[int]] = {}

    def propagate(self, tasks: Sequence[Task], later: int = 0) -> np.ndarray:
        """Masks of structures, bool (tasks, I, J, K), each painted on the slice of the way on which it is largest, or
        ``later`` slices after it."""
        label = np.zeros(self._image.shape, np.uint8)
        names = {task.structure: value for value, task in enumerate(tasks, 1)}
        for task in tasks:
            areas = [task.reference.take(index, self._axis).sum() for index in self._route]
            painted = self._route[int(np.argmax(areas)) + later]
            label[only_slice(task.reference, self._axis, painted)] = names[task.structure]
        found, report = propagate_volume(
            self._image,
            label,
            model=self._network,
            axis=self._axis,
            label_names=names,
            first_slice=min(self._route),
            last_slice=max(self._route),
            stop_after=None,
            workspace=self._workspace,
            regions=self._regions,
        )
        self._regions |= {name: part["region"] for name, part in report["structures"].items()}
        return np.stack([found == value for value in names.values()])


def _by_sam2(predictor: SAM2VideoPredictor, task: Task, slices: int) -> np.ndarray:
    """The same by the package's predictor, on frames in memory."""
    route = _route(task, slices)
    window = choose_window(task.image, task.painted)
    places = [task.view.stack_index(index) for index in route]
    frames = Frames(task.view.to_stack(task.image.array)[places], window, predictor.image_size)
    painted = np.ascontiguousarray(task.view.to_stack(task.painted)[places[0]])
    images = torch.stack([frames[index] for index in range(len(route))])
    state = predictor_state(images.to(predictor.device), painted.shape)
    predictor.add_new_mask(state, frame_idx=0, obj_id=1, mask=painted)
    found = np.zeros(task.reference.shape, bool)
    by_slice = task.view.to_stack(found)  # a view
    for index, _, logits in predictor.propagate_in_video(state):
        by_slice[places[index]] = (logits[0, 0] > 0).cpu().numpy()
    by_slice[places[0]] = painted
    return found[None]


def predictor_state(frames: torch.Tensor, shape: tuple[int, ...]) -> dict[str, Any]:
    """What ``SAM2VideoPredictor.init_state`` makes of a video file, of frames (S, 3, N, N) and slices of ``shape``.

    Everything is kept on the frames' device.
    """
    lists = ("point_inputs", "mask_inputs", "output_dict", "temp_output_dict", "frames_tracked")
    return {
        "images": frames,
        "num_frames": len(frames),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": shape[0],
        "video_width": shape[1],
        "device": frames.device,
        "storage_device": frames.device,
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": {},
        "obj_idx_to_id": {},
        "obj_ids": [],
        **{f"{name}_per_obj": {} for name in lists},
    }
