"""The published loss: 20 x focal + dice + IoU head + object score; a mean over slices, or their sum as published."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from slmsam2.training.clip import DecoderOutputs

FOCAL_WEIGHT, FOCAL_ALPHA, FOCAL_GAMMA = 20.0, 0.25, 2.0


@dataclass(frozen=True)
class ClipLoss:
    """Scalars: ``total`` is what is minimised, the others are its parts."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor


def clip_loss(
    outputs: DecoderOutputs,
    masks: Tensor,
    *,
    known: Tensor | None = None,
    absent_pixels: float | None = None,
    focal_alpha: float = FOCAL_ALPHA,
    presence_weight: float = 1.0,
    summed: bool = False,
) -> ClipLoss:
    """Loss of a propagated clip.

    Args:
        outputs: of the decoder's calls, with N structures in the batch.
        masks: bool (N, T, H, W) references.
        known: bool (N, T), slices whose reference can be trusted; the others do not count. None: all.
        absent_pixels: when given, focal, dice and overlap also count on slices without the structure, so that the
            mask itself becomes empty there and its expected overlap 0; so many pixels drawn there cost half of the
            dice loss. None: as published they count only where the structure is present.
        focal_alpha: weight of the structure's pixels in the focal loss, of the others 1 - ``focal_alpha``. The
            published 0.25 makes masks a little too small.
        presence_weight: of the object score's loss in the total; published 1.
        summed: as published, add up over slices and clicks, with the mean over structures. Else each term is a mean
            over the slices, clicks and structures it counts on.

    Of several candidate masks the best one is trained.
    """
    size = outputs.masks[0].shape[-2:]
    targets = F.interpolate(masks.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    present = _of_slices(masks.flatten(2).any(dim=2), outputs.slices)
    counted = torch.ones_like(present) if known is None else _of_slices(known, outputs.slices)
    structures = len(masks) if summed else None
    share = _shares(present * counted, structures)
    mask_share = _shares(counted, structures) if absent_pixels else share
    calls = zip(outputs.masks, outputs.ious, outputs.slices, strict=True)
    parts = [
        _mask_losses(logits.float(), ious.float(), targets[:, index], absent_pixels or 1.0, focal_alpha)
        for logits, ious, index in calls
    ]
    focal, dice, iou = (torch.stack(values, dim=1) for values in zip(*parts, strict=True))
    focal, dice, iou = (focal * mask_share).sum(), (dice * mask_share).sum(), (iou * mask_share).sum()
    scores = torch.cat(outputs.scores, dim=1).float()
    errors = F.binary_cross_entropy_with_logits(scores, present, reduction="none")
    presence = (errors * _shares(counted, structures)).sum()
    total = FOCAL_WEIGHT * focal + dice + iou + presence_weight * presence
    return ClipLoss(total, focal, dice, iou, presence)


def _of_slices(facts: Tensor, slices: list[int]) -> Tensor:
    """Bool (N, T) to float32 (N, calls)."""
    return torch.stack([facts[:, index] for index in slices], dim=1).float()


def _shares(weights: Tensor, structures: int | None) -> Tensor:
    """Weights that add up to 1, or stay 0; with a number of structures, divided by that."""
    return weights / (weights.sum().clamp_min(1) if structures is None else structures)


def _mask_losses(
    logits: Tensor, expected_ious: Tensor, target: Tensor, absent_pixels: float, focal_alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Focal and dice of the best of M masks, and the error of their expected overlaps; each (N,).

    Args:
        logits: (N, M, n, n).
        expected_ious: (N, M).
        target: (N, n, n), 0 to 1.
    """
    target = target[:, None].expand_as(logits)
    focal = sigmoid_focal_loss(logits, target, focal_alpha, FOCAL_GAMMA).mean(dim=(-2, -1))
    absent = ~(target > 0).flatten(2).any(dim=2)
    dice = soft_dice_loss(logits, target, torch.where(absent, absent_pixels, 1.0))
    best = (FOCAL_WEIGHT * focal + dice).argmin(dim=-1, keepdim=True)
    iou = (expected_ious - hard_iou(logits, target)).abs().mean(dim=-1)
    return focal.gather(-1, best)[:, 0], dice.gather(-1, best)[:, 0], iou


def soft_dice_loss(logits: Tensor, target: Tensor, extra: Tensor | float = 1.0) -> Tensor:
    """1 - Dice of probabilities over the last two axes; ``extra`` voxels are added above and below."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum(dim=(-2, -1))
    return 1 - (2 * overlap + extra) / (probability.sum(dim=(-2, -1)) + target.sum(dim=(-2, -1)) + extra)


def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of the thresholded mask, over the last two axes; without gradient."""
    found, true = logits.detach() > 0, target > 0.5
    union = (found | true).sum(dim=(-2, -1))
    return (found & true).sum(dim=(-2, -1)) / union.clamp_min(1)
