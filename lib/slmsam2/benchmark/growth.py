"""How the cost grows with the number of slices, on volumes as long as one likes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch

from slmsam2.benchmark.memory import peak_mib
from slmsam2.engine import load_model, propagate_volume

SIDE = 96  # pixels of a slice


@dataclass(frozen=True)
class Growth:
    """What a volume of so many slices cost: CPU seconds altogether; the process's peak memory, and what of it came
    with the run (MiB)."""

    slices: int
    structures: int
    cpu_seconds: float
    peak_mib: float
    added_mib: float


def grow(model: str, lengths: Sequence[int], counts: Sequence[int], threads: int) -> list[Growth]:
    """Volumes of each length with one structure, and the shortest with several, each in a process of its own."""
    wanted = [(slices, 1) for slices in lengths] + [(min(lengths), count) for count in counts if count > 1]
    found = []
    for slices, structures in wanted:
        with get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(_one, (model, slices, structures, threads)))
    return found


def _one(model: str, slices: int, structures: int, threads: int) -> Growth:
    torch.set_num_threads(threads)
    network = load_model(model)
    image, label = winding_rods(slices, structures)
    before = peak_mib()
    start = time.process_time()
    propagate_volume(image, label, model=network, axis=2, stop_after=None)
    seconds = time.process_time() - start
    return Growth(slices, structures, seconds, peak_mib(), peak_mib() - before)


def winding_rods(slices: int, structures: int) -> tuple[np.ndarray, np.ndarray]:
    """A volume int16 (SIDE, SIDE, slices) in which bright rods wind; a label uint8 that paints their middle slice.

    They stay within the region that is looked at first, however long the volume: else it would be looked at in more
    regions than a short one.
    """
    random = np.random.default_rng(0)
    image = random.normal(0, 20, (SIDE, SIDE, slices)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    i, j = np.mgrid[:SIDE, :SIDE]
    for index in range(slices):
        for value in range(1, structures + 1):
            place, turn = 2 * np.pi * value / structures, 2 * np.pi * index / 50
            middle = SIDE / 2 + 28 * _towards(place) + 3 * _towards(turn)
            rod = (i - middle[0]) ** 2 + (j - middle[1]) ** 2 < 8**2
            image[rod, index] += 100 + 20 * value
            if index == slices // 2:
                label[rod, index] = value
    return image, label


def _towards(angle: float) -> np.ndarray:
    """The unit vector, (2,), at an angle."""
    return np.array([np.cos(angle), np.sin(angle)])
