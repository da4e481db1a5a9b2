"""Smooth random fields, sampled at any point of a volume."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Uniform numbers in [low, high), float32, on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def log_uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Numbers in [low, high) whose logarithm is uniform."""
    return uniform(shape, math.log(low), math.log(high), generator).exp()


def chance(shape: tuple[int, ...], probability: float, generator: Generator) -> Tensor:
    """Bool tensor, true with the given probability."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability


def smooth_field(points: Tensor, channels: int, nodes: int, generator: Generator) -> Tensor:
    """A random field with about unit variance, smooth over 1 / ``nodes`` of the cube [-1, 1]^3.

    Args:
        points: float32 (B, T, H, W, 3), x, y, z; points outside the cube take the value at its border.
        channels: fields per volume.

    Returns:
        float32 (B, channels, T, H, W).
    """
    batch = points.shape[0]
    coarse = torch.randn((batch, channels, nodes, nodes, nodes), generator=generator, device=generator.device)
    # twice the nodes after smoothing: no kinks of the linear interpolation at the nodes themselves
    fine = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=True)
    fine = fine / fine.std().clamp_min(1e-6)
    return F.grid_sample(fine, points, mode="bilinear", padding_mode="border", align_corners=True)


def random_rotations(count: int, generator: Generator) -> Tensor:
    """Uniformly distributed rotation matrices, float32 (count, 3, 3), from the QR decomposition of normal matrices."""
    q, r = torch.linalg.qr(torch.randn((count, 3, 3), generator=generator, device=generator.device))
    return q * torch.diagonal(r, dim1=-2, dim2=-1).sign()[:, None, :]
