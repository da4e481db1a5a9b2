"""How many threads a process computes with."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import psutil
import torch

QUOTA = Path("/sys/fs/cgroup/cpu.max")
LOOK_SECONDS = 0.5  # between looks at what others compute
IDLE = ("idle", "iowait", "guest", "guest_nice")  # guests' time is counted in "user" and "nice" as well
NEGLIGIBLE = 0.3  # cores that others may take while theirs count as free
QUIET_SECONDS = 10.0  # for which cores must have been free before they are taken: who computed may go on soon


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
    """Set the number of threads that PyTorch computes with in this process, and return it: at most one for each core
    of the machine, as the process is ended where the system does not start that many.

    Args:
        threads: how many; None: ``$OMP_NUM_THREADS``, else as many as there are usable cores.
        leave: cores to leave to others when that is not said; one is used in any case.
    """
    said = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None:
        threads = int(said) if said.isdecimal() and int(said) else max(1, usable_cores() - leave)
    threads = min(threads, psutil.cpu_count() or 1)
    torch.set_num_threads(threads)
    return threads


class SpareCores:
    """Lets PyTorch compute on the cores that nobody else computes on, seen anew at each call.

    The threads of one computation wait for each other. Where another process takes the core of one of them, all stand
    still: a step of a training on two cores takes ten times as long during an inference, and on one core no longer than
    ever. What others compute is seen on the whole machine; within a container's share of it one core is left free.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        shared = usable_cores() != psutil.cpu_count()
        self._most = limit_threads(leave=int(shared))
        limit_threads(leave=1)  # until it is known what others compute
        self._at, self._total, self._own = self._seconds()
        self._disturbed = -math.inf  # when others last needed a core

    def __call__(self) -> int:
        """Set the number of threads for what the calling thread computes next, and return it."""
        at, total, own = self._seconds()
        threads = torch.get_num_threads()
        if at - self._at < LOOK_SECONDS:
            return threads
        others = ((total - self._total) - (own - self._own)) / (at - self._at)
        self._at, self._total, self._own = at, total, own
        free = math.floor((psutil.cpu_count() or 1) - others + NEGLIGIBLE)
        wanted = max(1, min(self._most, free))
        if wanted < self._most:
            self._disturbed = at
        if wanted < threads or (wanted > threads and at - self._disturbed >= QUIET_SECONDS):
            torch.set_num_threads(wanted)
        return torch.get_num_threads()

    def _seconds(self) -> tuple[float, float, float]:
        """Now; computed so far on all cores, by everybody; by this process."""
        everybody = psutil.cpu_times()._asdict()
        busy = sum(seconds for kind, seconds in everybody.items() if kind not in IDLE)
        own = self._process.cpu_times()
        return time.monotonic(), busy, own.user + own.system
