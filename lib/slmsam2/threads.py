"""How many threads a process computes with."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = QUOTA) -> int:
    """Cores that this process may use: those it may run on, within the share that a container is given.

    PyTorch does not know of that share, and more threads than cores are slower than one.

    Args:
        quota: Linux's file of the share: microseconds allowed, or "max", and the period they are for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if allowed == "max" else max(1, min(cores, math.floor(int(allowed) / int(period))))


def limit_threads(threads: int | None = None, *, leave: int = 0) -> int:
    """Set the number of threads that PyTorch computes with in this process, and return it.

    Args:
        threads: how many; None: ``$OMP_NUM_THREADS``, else as many as there are usable cores.
        leave: cores to leave to others when that is not said; one is used in any case.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None:
        threads = int(said) if said.isdecimal() and int(said) else max(1, usable_cores() - leave)
    torch.set_num_threads(threads)
    return threads
