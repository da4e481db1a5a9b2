"""One process, or several started by torchrun that train the same weights on clips of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from slmsam2.devices import usable_device

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process among all that train together.

    Attributes:
        rank: number of this process; 0 writes files and decides when to stop.
        count: processes.
        device: where this process trains.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Workers:
        """Alone, or one of torchrun's processes; those on CUDA take a GPU each.

        Raises:
            ConfigurationError: no such device.
        """
        count, own = int(os.environ.get("WORLD_SIZE", "1")), usable_device(device)
        if count == 1:
            return cls(0, 1, own)
        if own.type == "cuda":
            own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(own)
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
        return cls(dist.get_rank(), count, own)

    @property
    def first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the mean over the processes; one that no process has stays away."""
        if self.count == 1:
            return
        parameters = list(parameters)
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        chosen = [p for p, one in zip(parameters, used.tolist(), strict=True) if one]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in chosen])
        dist.all_reduce(flat)
        flat /= self.count
        for parameter, part in zip(chosen, flat.split([p.numel() for p in chosen]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def mean_values(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each value over the processes."""
        if self.count == 1:
            return values
        total = torch.tensor(list(values.values()), device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.count).tolist(), strict=True))

    def share(self, values: list[float], count: int) -> list[float]:
        """The first process's ``count`` values, for all."""
        if self.count == 1:
            return values
        word = torch.tensor(values if self.first else [0.0] * count, device=self.device)
        dist.broadcast(word, 0)
        return word.tolist()

    def from_first(self, thing: T) -> T:
        """The first process's object, for all; it must be picklable."""
        if self.count == 1:
            return thing
        carrier = [thing]
        dist.broadcast_object_list(carrier, 0)
        return carrier[0]

    def agree(self, stop: bool) -> bool:
        """What the first process says, so that all stop at the same step."""
        if self.count == 1:
            return stop
        word = torch.tensor([float(stop)], device=self.device)
        dist.broadcast(word, 0)
        return bool(word.item())

    def leave(self) -> None:
        """End the group."""
        if self.count > 1:
            dist.destroy_process_group()
