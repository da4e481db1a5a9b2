"""Slices as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from torch.nn.functional import interpolate

from slmsam2.normalisation import normalised
from slmsam2.volume.intensity import Window


class Frames(Sequence[torch.Tensor]):
    """The slices of a stack as network input, made one at a time when asked for.

    Args:
        stack: (S, H, W), any real dtype; kept as a view, not copied.
        window: intensities shown as 0 to 1; those outside are cut off, NaN and infinities count as
            the low end.
        image_size: N, rows and columns of the square the network takes, in pixels.

    `frames[s]` is float32 (3, N, N): windowed, resized, three equal channels, normalised as for ImageNet;
    `frames[first:last]` are the frames of a part of the stack.
    """

    def __init__(self, stack: np.ndarray, window: Window, image_size: int) -> None:
        self.stack = stack
        self.window = window
        self.image_size = image_size

    def __len__(self) -> int:
        return self.stack.shape[0]

    @overload
    def __getitem__(self, index: int) -> torch.Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Frames: ...

    def __getitem__(self, index: int | slice) -> torch.Tensor | Frames:
        if isinstance(index, slice):
            return Frames(self.stack[index], self.window, self.image_size)
        values = np.asarray(self.stack[index], dtype=np.float64)
        values = np.where(np.isfinite(values), values, self.window.low)
        shown = ((values - self.window.low) / self.window.width).clip(0, 1).astype(np.float32)
        size = (self.image_size, self.image_size)
        resized = interpolate(
            torch.from_numpy(shown)[None, None], size, mode="bilinear", antialias=True, align_corners=False
        )
        return normalised(resized[0, 0])

    def source(self, index: int) -> bytes:
        """All that a frame depends on, at a small part of the cost of making it."""
        pixels = self.stack[index]
        how = (pixels.dtype.str, pixels.shape, self.window, self.image_size)
        return repr(how).encode() + pixels.tobytes()
