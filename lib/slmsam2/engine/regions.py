"""The part of the slices that the network looks at: all of it, or a square around what was painted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from slmsam2.prompts import Marks, Prompt

LEAST_SIDE = 32  # pixels
BORDER = 2  # pixels: a mask this close to a region's edge may go on outside


@dataclass(frozen=True)
class Region:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` (exclusive) of slices of ``shape`` (H, W)."""

    top: int
    bottom: int
    left: int
    right: int
    shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the region."""
        return self.bottom - self.top, self.right - self.left

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the slices is left out."""
        return self.size == self.shape

    def cut(self, array: np.ndarray) -> np.ndarray:
        """(..., H, W) to (..., h, w), a view."""
        return array[..., self.top : self.bottom, self.left : self.right]

    def cut_prompt(self, prompt: Prompt) -> Prompt:
        """A prompt for whole slices as one for the region."""
        if isinstance(prompt, Marks):
            return prompt.cut(self.cut, self.left, self.top)
        return self.cut(prompt)

    def holds(self, mask: np.ndarray) -> bool:
        """Whether a mask, bool (H, W), lies in the region, away from its open edges."""
        if mask.shape != self.shape:
            return False
        inside = self.cut(mask)
        return bool(inside.sum() == mask.sum()) and not self.is_touched_by(inside)

    def is_touched_by(self, mask: np.ndarray) -> bool:
        """Whether a mask, bool (h, w), comes close to an edge of the region that is not an edge of the slice."""
        inner = [
            (mask[:BORDER], self.top > 0),
            (mask[-BORDER:], self.bottom < self.shape[0]),
            (mask[:, :BORDER], self.left > 0),
            (mask[:, -BORDER:], self.right < self.shape[1]),
        ]
        return any(open_edge and strip.any() for strip, open_edge in inner)


def whole_slices(mask: np.ndarray) -> Region:
    """The region that leaves nothing out of slices like ``mask``, (H, W)."""
    height, width = mask.shape
    return Region(0, height, 0, width, (height, width))


def region_around(masks: Iterable[np.ndarray], spacing: tuple[float, float], margin: float) -> Region:
    """A region, square in mm where the slice allows it, around all masks.

    Args:
        masks: bool (H, W), at least one with a pixel.
        spacing: between rows and between columns, in mm.
        margin: room on each side, as a multiple of the longer side of the masks' bounding box.
    """
    painted = np.logical_or.reduce(list(masks))
    bounds = [_bounds(painted.any(axis=1)), _bounds(painted.any(axis=0))]
    longest = max((high - low) * mm for (low, high), mm in zip(bounds, spacing, strict=True))
    side = max(longest * (1 + 2 * margin), LEAST_SIDE * max(spacing))
    (top, bottom), (left, right) = (
        _widen(low, high, round(side / mm), length)
        for (low, high), mm, length in zip(bounds, spacing, painted.shape, strict=True)
    )
    height, width = painted.shape
    return Region(top, bottom, left, right, (height, width))


def twice_as_wide(region: Region, spacing: tuple[float, float]) -> Region:
    """The region with half of its longer side more room on each side."""
    box = np.zeros(region.shape, bool)
    region.cut(box)[:] = True
    return region_around([box], spacing, margin=0.5)


def _bounds(present: np.ndarray) -> tuple[int, int]:
    found = np.flatnonzero(present)
    return int(found[0]), int(found[-1]) + 1


def _widen(low: int, high: int, side: int, length: int) -> tuple[int, int]:
    """Centre ``side`` pixels on [low, high), moved into [0, length)."""
    side = min(side, length)
    start = min(max((low + high - side) // 2, 0), length - side)
    return start, start + side
