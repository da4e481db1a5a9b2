"""The scale of mask logits, which are much surer outside than inside far from a prompt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LEAST_PEAK = 1e-3  # of mask logits that are scaled to 1


def peaks(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest size of mask logits (B, 1, n, n) inside and outside each mask, both (B, 1, 1, 1), never quite 0."""
    inside, outside = (
        side.clamp_min(0).amax(dim=(1, 2, 3), keepdim=True).clamp_min(LEAST_PEAK)
        for side in (logits, -logits)
    )
    return inside, outside


def in_symmetric_scale(logits: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Mask logits (B, 1, n, n), changed in a scale in which their peaks inside and outside are 1 and -1.

    In their own scale, whatever mixes neighbouring pixels moves the outline inwards.

    Args:
        change: of logits in that scale.
    """
    inside, outside = peaks(logits)
    found = change(torch.where(logits > 0, logits / inside, logits / outside))
    return torch.where(found > 0, found * inside, found * outside)
