"""Loss and gradients of a training step as a CUDA graph, for networks whose many small kernels keep a GPU waiting.

A step is some fifty thousand operations of microseconds each, which Python starts more slowly than a GPU does them.
Captured once, they are started as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from slmsam2.synthesis import Clip
from slmsam2.training.losses import ClipLoss

WARM_UPS = 2  # steps before the capture: kernels are loaded and chosen


class GraphedLoss:
    """Computes a loss and its gradients for clips of one shape, always by the same operations.

    Args:
        loss: of a clip, without random numbers and without a look at values from Python.
        clip: an example, on a GPU.
        parameters: whose gradients are wanted.
    """

    def __init__(
        self, loss: Callable[[Clip], ClipLoss], clip: Clip, parameters: Sequence[nn.Parameter]
    ) -> None:
        self._clip = Clip(clip.frames.clone(), clip.masks.clone())
        self._parameters = list(parameters)
        with _KeptNumbers(clip.frames.device):
            self._warm_up(loss)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                captured = loss(self._clip)
                captured.total.backward()
        self._losses = ClipLoss(**{name: value.detach() for name, value in vars(captured).items()})
        self._gradients = [parameter.grad for parameter in self._parameters]

    def _warm_up(self, loss: Callable[[Clip], ClipLoss]) -> None:
        """Compute on another stream, as a capture wants it, and leave no gradients."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                loss(self._clip).total.backward()
                for parameter in self._parameters:
                    parameter.grad = None
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.empty_cache()

    def __call__(self, clip: Clip) -> ClipLoss:
        """The losses of a clip; the parameters' gradients are replaced. Both hold until the next call."""
        self._clip.frames.copy_(clip.frames)
        self._clip.masks.copy_(clip.masks)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._losses


class _KeptNumbers(TorchFunctionMode):
    """While active, ``torch.tensor`` of the same numbers is the same tensor on ``device``.

    During a capture nothing may be copied from the host: what is wanted then was wanted in the warm-up.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._kept: dict[str, Tensor] = {}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.tensor:
            return func(*args, **kwargs)
        key = repr((args, kwargs))
        if key not in self._kept:
            self._kept[key] = func(*args, **kwargs).to(self._device)
        return self._kept[key]
