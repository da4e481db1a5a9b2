"""What a ridge regression needs to know of many pixels, in a size that does not grow with their number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

RIDGE = 0.1  # weight of the penalty, relative to the variance of a feature
LEAST_DEVIATION = 1e-3  # of a feature


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted first and second moments of C features and of a target of 1 and -1, all float32.

    Attributes:
        weight: (), the sum of the weights.
        mean: (C,), of the features.
        products: (C, C), their covariance.
        target: (), mean of the targets.
        cross: (C,), covariance of features and target.
    """

    weight: Tensor
    mean: Tensor
    products: Tensor
    target: Tensor
    cross: Tensor

    @classmethod
    def of(cls, pixels: Tensor, targets: Tensor, weights: Tensor) -> Moments:
        """Of features (P, C) with targets (P,) and weights (P,)."""
        total = weights.sum()
        shares = weights / total
        mean, target = shares @ pixels, shares @ targets
        centred = pixels - mean
        weighted = shares[:, None] * centred
        return cls(total, mean, centred.t() @ weighted, target, weighted.t() @ (targets - target))

    def mixed(self, other: Moments, share: float | Tensor) -> Moments:
        """Of the pixels of both, those of ``other`` counting ``share`` (0 to 1) of the whole; the weights add up.

        After T. F. Chan et al. (1979), Updating formulae and a pairwise algorithm for computing sample variances.
        """
        between = share * (1 - share)
        moved, turned = other.mean - self.mean, other.target - self.target
        return Moments(
            self.weight + other.weight,
            torch.lerp(self.mean, other.mean, share),
            torch.lerp(self.products, other.products, share) + between * torch.outer(moved, moved),
            torch.lerp(self.target, other.target, share),
            torch.lerp(self.cross, other.cross, share) + between * turned * moved,
        )

    def __add__(self, other: Moments) -> Moments:
        """Of the pixels of both, each with its own weight."""
        return self.mixed(other, other.weight / (self.weight + other.weight))

    def ridge(self) -> tuple[Tensor, Tensor]:
        """The linear function that tells the target: coefficients (C,) and the constant ()."""
        deviation = self.products.diagonal().clamp_min(0).sqrt() + LEAST_DEVIATION
        scaled = self.products / torch.outer(deviation, deviation)
        penalty = RIDGE * torch.eye(len(deviation), device=deviation.device)
        found = torch.linalg.solve(scaled + penalty, self.cross / deviation) / deviation
        return found, self.target - found @ self.mean

    def to(self, device: str | torch.device) -> Moments:
        """The same on a device."""
        return replace(self, **{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Name -> tensor, to be written and to be read again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def digest(self) -> bytes:
        """A fingerprint."""
        seen = torch.cat([self.mean, self.cross]).cpu().numpy().tobytes()
        return hashlib.blake2b(seen, digest_size=16).digest()
