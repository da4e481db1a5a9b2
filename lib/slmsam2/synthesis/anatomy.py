"""Random anatomy: volumes of labels with nested, touching, tubular and sheet-like structures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.synthesis.noise import chance, log_uniform, random_rotations, smooth_field, uniform


@dataclass(frozen=True)
class AnatomySettings:
    """How much of what is in a volume. Lengths are in half-widths of the slice.

    Attributes:
        tissues: organic regions that fill the body.
        objects: closed structures painted over the tissues, each with an optional core of its own label.
        slice_step: range of the distance between slices.
        object_radius: range of the objects' mean radius.
        warp: range of the amplitude of the deformation.
    """

    tissues: int = 5
    objects: int = 8
    slice_step: tuple[float, float] = (0.012, 0.12)
    object_radius: tuple[float, float] = (0.05, 0.45)
    warp: tuple[float, float] = (0.02, 0.25)

    @property
    def labels(self) -> int:
        """Number of labels: air, tissues, and two per object."""
        return 1 + self.tissues + 2 * self.objects


def label_volumes(
    batch: int, slices: int, size: int, generator: Generator, settings: AnatomySettings
) -> Tensor:
    """Random label volumes, int64 (B, T, N, N); 0 is air, then the tissues, then objects and their cores.

    Slice 0 is where a structure would be painted: objects are placed so that most of them are on it, and end
    somewhere before or after the last slice.
    """
    points = _slice_points(batch, slices, size // 2, generator, settings)
    amplitude = log_uniform((batch, 1, 1, 1, 1), *settings.warp, generator)
    warp = smooth_field(points, 3, 4, generator) + 0.4 * smooth_field(points, 3, 9, generator)
    warped = points + (amplitude * warp).permute(0, 2, 3, 4, 1)
    labels = 1 + _upsample(_tissue_fields(warped, generator, settings)).argmax(dim=1)
    labels = labels * (_upsample(_body_field(warped, generator))[:, 0] > 0)
    return _paint_objects(labels, warped, generator, settings)


def _slice_points(
    batch: int, slices: int, size: int, generator: Generator, settings: AnatomySettings
) -> Tensor:
    """Positions of the voxels, (B, T, n, n, 3): in-plane in [-1, 1], slice 0 at z = 0."""
    line = torch.linspace(-1, 1, size, device=generator.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    step = log_uniform((batch, 1, 1, 1), *settings.slice_step, generator)
    z = step * torch.arange(slices, device=generator.device).view(1, -1, 1, 1)
    return torch.stack(torch.broadcast_tensors(x[None, None], y[None, None], z), dim=-1)


def _tissue_fields(points: Tensor, generator: Generator, settings: AnatomySettings) -> Tensor:
    """One field per tissue, the largest wins: (B, tissues, T, n, n)."""
    coarse = smooth_field(points, settings.tissues, 3, generator)
    fine = smooth_field(points, settings.tissues, 8, generator)
    return coarse + uniform((len(points), 1, 1, 1, 1), 0.0, 0.6, generator) * fine


def _body_field(points: Tensor, generator: Generator) -> Tensor:
    """Positive inside the body, (B, 1, T, n, n); a third of the volumes lie wholly inside."""
    batch = len(points)
    radius = uniform((batch, 1, 1, 1, 2), 0.6, 1.1, generator)
    inside = chance((batch, 1, 1, 1), 0.33, generator)
    distance = (points[..., :2] / radius).norm(dim=-1)
    return torch.where(inside, torch.ones_like(distance), 1 - distance)[:, None]


def _paint_objects(labels: Tensor, points: Tensor, generator: Generator, settings: AnatomySettings) -> Tensor:
    """Paint warped superquadrics over ``labels`` (B, T, N, N); cores of some get labels of their own."""
    batch = len(points)
    for number in range(settings.objects):
        radius = _upsample(_superquadric(points, generator, settings)[:, None])[:, 0]
        core = uniform((batch, 1, 1, 1), 0.35, 0.85, generator) * chance((batch, 1, 1, 1), 0.4, generator)
        outer = 1 + settings.tissues + 2 * number
        labels = torch.where(radius < 1, outer, labels)
        labels = torch.where(radius < core, outer + 1, labels)
    return labels


def _superquadric(points: Tensor, generator: Generator, settings: AnatomySettings) -> Tensor:
    """Distance from a random superquadric's centre, 1 on its surface: (B, T, n, n).

    Ellipsoids, boxes, long tubes and flat sheets come from the exponent and the ratios of the radii.
    """
    batch = len(points)
    mean = log_uniform((batch, 1), *settings.object_radius, generator)
    ratios = log_uniform((batch, 3), 0.5, 2.0, generator)
    tube = chance((batch, 1), 0.25, generator)
    ratios = torch.where(tube, torch.tensor([0.4, 0.4, 6.0], device=mean.device), ratios)
    radii = mean * ratios
    centre = uniform((batch, 3), -0.8, 0.8, generator)
    centre[:, 2] = uniform((batch,), -1.0, 1.0, generator) * mean[:, 0]
    rotation = random_rotations(batch, generator)
    power = uniform((batch, 1, 1, 1, 1), 1.6, 4.0, generator)
    local = torch.einsum("bthwc,bcd->bthwd", points - centre.view(batch, 1, 1, 1, 3), rotation)
    scaled = (local / radii.view(batch, 1, 1, 1, 3)).abs().clamp(1e-4, 1e4)
    return scaled.pow(power).sum(-1).pow(1 / power[..., 0])


def _upsample(fields: Tensor) -> Tensor:
    """Twice the in-plane size: (B, C, T, n, n) to (B, C, T, 2n, 2n)."""
    return F.interpolate(fields, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)
