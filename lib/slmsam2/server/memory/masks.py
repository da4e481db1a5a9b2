"""Masks that are kept for later, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

ONES = np.array([number.bit_count() for number in range(256)], np.uint8)  # in each byte


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
        order = tuple(sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])))
        return cls(zlib.compress(bits_of(mask, order).tobytes(), 1), mask.shape, order)

    def unpack(self) -> np.ndarray:
        """The mask, bool."""
        bits = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        turned = [self.shape[axis] for axis in self.order]
        flags = np.unpackbits(bits, count=int(np.prod(self.shape))).view(bool).reshape(turned)
        return flags.transpose(np.argsort(self.order))

    def count_differing(self, bits: np.ndarray, counted: np.ndarray) -> int:
        """How many voxels differ from those of another mask.

        Args:
            bits: of the other mask, of this one's shape and in its order, see :func:`bits_of`.
            counted: of the voxels that count, likewise.
        """
        differ = (np.frombuffer(zlib.decompress(self.bits), np.uint8) ^ bits) & counted
        return int(ONES[differ[differ != 0]].sum(dtype=np.int64))


def bits_of(mask: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Eight voxels a byte, of a mask whose axes are taken in this order, the slowest first."""
    return np.packbits(mask.transpose(order))
