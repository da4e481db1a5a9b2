"""What a structure looks like on the given slices, told from what lies around it there.

After A. Robinson et al. (CVPR 2020), Learning Fast and Robust Target Models for Video Object Segmentation: a linear
classifier of the image encoder's features, fitted at each request, says of each pixel of other slices how much it looks
like the structure. The network, trained on many structures, knows none in particular; this knows one, and nothing of
shapes. It mostly takes away: what looks like the structure's surroundings on the given slices.

What is known of a structure from other volumes (its looks, learnt from submitted labels) is fitted together with the
given slices, as far as it agrees with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from slmsam2.engine.features import SliceFeatures
from slmsam2.modeling import Moments
from slmsam2.modeling.logits import in_symmetric_scale

SURROUNDINGS = 12  # mask pixels around the structure, in which what is not of it counts most
FAR = 0.1  # weight of a pixel farther away, relative to one of the surroundings
NEAR = 3  # mask pixels around a mask, in which it may change
LIMIT = 1.5  # of the classifier's values, which are fitted to 1 and -1
LEARNT = 3.0  # how much looks that explain the given slices wholly would count, relative to these
CHANCE = 0.3  # agreement with the given slices up to which looks do not count; other people's is about that


@dataclass(frozen=True)
class Say:
    """How much the classifier's values count in mask logits whose peaks are 1 and -1: those below and above 0."""

    against: float
    in_favour: float


IN_RESULT = Say(against=0.3, in_favour=0.1)
CARRIED_ON = Say(against=0.05, in_favour=0.04)  # adds up from slice to slice


class Appearance:
    """Tells a structure from its surroundings by image features.

    Args:
        given: features and mask logits (1, 1, n, n) of the given slices that the structure is on; at least one.
        learnt: looks of the structure in other volumes.
    """

    def __init__(self, given: Iterable[tuple[SliceFeatures, Tensor]], learnt: Moments | None = None) -> None:
        slices = [_pixels(features, logits) for features, logits in given]
        pixels, targets, weights = (torch.cat(parts) for parts in zip(*slices, strict=True))
        moments = Moments.of(pixels, targets, weights)
        if learnt is not None:
            agreement = _agreement(learnt, pixels, targets, weights)
            counted = LEARNT * max(0.0, (agreement - CHANCE) / (1 - CHANCE))
            moments = moments.mixed(learnt, counted / (1 + counted))
        self._weights, self._constant = moments.ridge()

    def of(self, features: SliceFeatures, size: int) -> Tensor:
        """How much a slice looks like the structure, float32 (1, 1, size, size): 1 for the structure as it was given,
        -1 for its surroundings, within ``LIMIT``."""
        found = self._constant.expand(1, 1, size, size)
        levels = _levels(features)
        for level, weights in zip(levels, self._weights.split([x.shape[1] for x in levels]), strict=True):
            # linear: weighed before it is enlarged
            found = found + _resized(torch.einsum("bchw,c->bhw", level, weights)[:, None], size)
        return found.clamp(-LIMIT, LIMIT)


def corrected(logits: Tensor, looks: Tensor, say: Say) -> Tensor:
    """Mask logits (1, 1, n, n) less sure where the slice looks like the surroundings, and a little surer where it looks
    like the structure; never surer far from the mask, and unchanged where there is none.

    Args:
        looks: of the slice, (1, 1, n, n), see :meth:`Appearance.of`.
        say: how much that counts.
    """
    if not (logits > 0).any():
        return logits
    near = F.max_pool2d((logits > 0).float(), 2 * NEAR + 1, 1, NEAR) > 0
    looks = looks.where(near, looks.new_tensor(-LIMIT))
    change = torch.where(looks < 0, say.against * looks, say.in_favour * looks)
    return in_symmetric_scale(logits, lambda scaled: scaled + change)


def looks_of(features: SliceFeatures, logits: Tensor) -> Moments:
    """What a structure and its surroundings look like on one slice.

    Args:
        logits: the mask, (1, 1, n, n); without the structure, the slice counts half as much, as surroundings.
    """
    return Moments.of(*_pixels(features, logits))


def _agreement(learnt: Moments, pixels: Tensor, targets: Tensor, weights: Tensor) -> float:
    """How much of what is what on the given slices the learnt looks alone can tell: 1 (all), 0 (nothing), or less."""
    coefficients, constant = learnt.ridge()
    told = (pixels @ coefficients + constant).clamp(-LIMIT, LIMIT)
    return 1 - float(weights @ (told - targets).square() / weights.sum())


def _levels(features: SliceFeatures) -> list[Tensor]:
    """All that is known of a slice's pixels, each (1, C, h, w)."""
    pairs = zip(features.feats, features.sizes, strict=True)
    levels = [level.permute(1, 2, 0).unflatten(-1, size) for level, size in pairs]
    if features.thumbnail is not None:
        mean = F.avg_pool2d(features.thumbnail, 5, 1, 2, count_include_pad=False)
        square = F.avg_pool2d(features.thumbnail.square(), 5, 1, 2, count_include_pad=False)
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        levels.append(torch.cat([features.thumbnail, mean, deviation], dim=1))
    return levels


def _pixels(features: SliceFeatures, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A slice's pixels: features (n * n, C), 1 inside the mask (1, 1, n, n) and -1 outside, and weights."""
    inside = (logits > 0).float()
    pixels = torch.cat([_resized(level, logits.shape[-1]) for level in _levels(features)], dim=1)
    return pixels[0].flatten(1).t(), 2 * inside.flatten() - 1, _weights(inside).flatten()


def _resized(level: Tensor, size: int) -> Tensor:
    return F.interpolate(level, size=(size, size), mode="bilinear", align_corners=False)


def _weights(inside: Tensor) -> Tensor:
    """Weights of the pixels of a mask (1, 1, n, n) of zeros and ones: half of all the structure's,
    the rest mostly near it."""
    around = F.max_pool2d(inside, 2 * SURROUNDINGS + 1, 1, SURROUNDINGS)
    outside = (around + FAR) * (1 - inside)
    return inside / inside.sum().clamp_min(1) + outside / outside.sum().clamp_min(FAR)
