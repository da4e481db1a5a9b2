"""Masks that are kept for later, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PackedMask:
    """A mask, its voxels in the order in which they lay in memory: in any other, large ones take a second.

    Attributes:
        bits: compressed, eight voxels a byte.
        shape: of the mask.
        order: its axes, the slowest first.
    """

    bits: bytes
    shape: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, mask: np.ndarray) -> PackedMask:
        """Pack a mask, bool of any shape."""
        order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
        bits = np.packbits(mask.transpose(order))
        return cls(zlib.compress(bits.tobytes(), 1), mask.shape, tuple(order))

    def unpack(self) -> np.ndarray:
        """The mask, bool."""
        bits = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        turned = [self.shape[axis] for axis in self.order]
        flags = np.unpackbits(bits, count=int(np.prod(self.shape))).view(bool).reshape(turned)
        return flags.transpose(np.argsort(self.order))
