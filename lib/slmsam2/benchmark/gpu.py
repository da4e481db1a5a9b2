"""What a GPU is asked for and what it could do: memory, arithmetic, and the rate of a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

SIDE, REPEATS, WARM_UPS = 8192, 10, 3  # of the matrix product


def wait_for(device: torch.device) -> None:
    """Return when everything that was started on a GPU is done; on the CPU nothing is left to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gpu_peak_mib(device: torch.device) -> float:
    """The most memory that tensors have taken on a GPU since ``torch.cuda.reset_peak_memory_stats``, in MiB."""
    return torch.cuda.max_memory_allocated(device) / 1024**2


def operations(run: Callable[[], object]) -> int:
    """Floating point operations of a run's matrix products, convolutions and attention; the rest is not counted."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def matrix_product_rate(device: torch.device, side: int = SIDE) -> float:
    """Floating point operations per second of a product of two matrices (side, side) in bfloat16."""
    one, other = torch.randn((2, side, side), device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(WARM_UPS + REPEATS):
        wait_for(device)
        start = time.perf_counter()
        torch.mm(one, other)
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / median(seconds[WARM_UPS:])
