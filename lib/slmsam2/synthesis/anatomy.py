"""Random anatomy: volumes of labels with nested, touching, branching, tubular and sheet-like structures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.synthesis.noise import chance, log_uniform, smooth_field, uniform
from slmsam2.synthesis.shapes import branching_tube, cluster, sheet, superquadric

FIELD_SCALE = 4  # the fields are computed on a grid so much coarser than the slices
SHAPES = (superquadric, cluster, branching_tube, superquadric, sheet)


@dataclass(frozen=True)
class AnatomySettings:
    """How much of what is in a volume. Lengths are in half-widths of the slice.

    Attributes:
        tissues: organic regions that fill the body.
        objects: closed structures painted over the tissues, each with an optional core of its own label, so that
            what is left of the structure is a shell.
        slice_step: range of the distance between slices.
        object_radius: range of the objects' typical radius.
        warp: range of the amplitude of the deformation.
        motion: largest standard deviation of a slice's displacement, in half of the volumes.
        cut: share of the objects that end at a plane across the slices, where another structure goes on in their
            outline: a disc beside muscle, one part of the brain stem after the other.
        room: range of the room around a structure of a label map, times its longer side on the first slice.
        least_share: of the first slice that a structure of a label map takes.
    """

    tissues: int = 5
    objects: int = 8
    slice_step: tuple[float, float] = (0.012, 0.12)
    object_radius: tuple[float, float] = (0.05, 0.6)
    warp: tuple[float, float] = (0.02, 0.25)
    motion: float = 0.015
    cut: float = 0.0
    room: tuple[float, float] = (0.35, 1.3)
    least_share: float = 0.002

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
    points = _slice_points(batch, slices, size // FIELD_SCALE, generator, settings)
    amplitude = log_uniform((batch, 1, 1, 1, 1), *settings.warp, generator)
    warp = smooth_field(points, 3, 4, generator) + 0.4 * smooth_field(points, 3, 9, generator)
    warped = points + (amplitude * warp).permute(0, 2, 3, 4, 1)
    labels = largest(tissue_fields(warped, generator, settings))
    labels = labels * (enlarged(_body_field(warped, generator)) > 0)
    return _paint_objects(labels, points, warped, generator, settings)


def _slice_points(
    batch: int, slices: int, size: int, generator: Generator, settings: AnatomySettings
) -> Tensor:
    """Positions of the voxels, (B, T, n, n, 3): in-plane in [-1, 1] but for motion, slice 0 at z = 0."""
    line = torch.linspace(-1, 1, size, device=generator.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    step = log_uniform((batch, 1, 1, 1), *settings.slice_step, generator)
    z = step * torch.arange(slices, device=generator.device).view(1, -1, 1, 1)
    points = torch.stack(torch.broadcast_tensors(x[None, None], y[None, None], z), dim=-1)
    shift = torch.randn((batch, slices, 1, 1, 3), generator=generator, device=generator.device)
    shift[..., 2] = 0
    strength = uniform((batch, 1, 1, 1, 1), 0.0, settings.motion, generator)
    return points + shift * strength * chance((batch, 1, 1, 1, 1), 0.5, generator)


def tissue_fields(points: Tensor, generator: Generator, settings: AnatomySettings) -> Tensor:
    """One field per tissue, the largest wins: (B, tissues, T, n, n)."""
    coarse = smooth_field(points, settings.tissues, 3, generator)
    fine = smooth_field(points, settings.tissues, 8, generator)
    return coarse + uniform((len(points), 1, 1, 1, 1), 0.0, 0.6, generator) * fine


def largest(fields: Tensor) -> Tensor:
    """1 + the number of the largest field: (B, C, T, n, n) to int64 (B, T, N, N)."""
    best = enlarged(fields[:, 0])
    labels = torch.ones(best.shape, dtype=torch.int64, device=best.device)
    for number in range(1, fields.shape[1]):
        field = enlarged(fields[:, number])
        labels = torch.where(field > best, number + 1, labels)
        best = torch.maximum(best, field)
    return labels


def _body_field(points: Tensor, generator: Generator) -> Tensor:
    """Positive inside the body, (B, T, n, n); a third of the volumes lie wholly inside."""
    batch = len(points)
    radius = uniform((batch, 1, 1, 1, 2), 0.6, 1.1, generator)
    inside = chance((batch, 1, 1, 1), 0.33, generator)
    distance = (points[..., :2] / radius).norm(dim=-1)
    return torch.where(inside, torch.ones_like(distance), 1 - distance)


def _paint_objects(
    labels: Tensor, points: Tensor, warped: Tensor, generator: Generator, settings: AnatomySettings
) -> Tensor:
    """Paint shapes in a random order over ``labels`` (B, T, N, N); cores of some get labels of their own."""
    batch = len(points)
    order = torch.randperm(settings.objects, generator=generator, device=generator.device).tolist()
    for number in order:
        mean = log_uniform((batch,), *settings.object_radius, generator)
        shape = SHAPES[number % len(SHAPES)](warped, mean, generator)
        radius = enlarged(shape)
        core = uniform((batch, 1, 1, 1), 0.35, 0.85, generator) * chance((batch, 1, 1, 1), 0.4, generator)
        outer = 1 + settings.tissues + 2 * number
        labels = torch.where(radius < 1, outer, labels)
        labels = torch.where(radius < core, outer + 1, labels)
        if settings.cut:
            beyond = enlarged(_beyond_plane(points, generator)) > 0
            beyond &= chance((batch, 1, 1, 1), settings.cut, generator)
            labels = torch.where((radius < 1) & beyond, outer + 1, labels)
    return labels


def _beyond_plane(points: Tensor, generator: Generator) -> Tensor:
    """Height above a plane that lies more or less along the slices, and comes after slice 0: (B, T, n, n)."""
    batch = len(points)
    deepest = points[..., 2].flatten(1).amax(dim=1).view(-1, 1, 1, 1)
    height = deepest * uniform((batch, 1, 1, 1), 0.15, 1.0, generator)
    slope = deepest[..., None] * uniform((batch, 1, 1, 1, 2), -0.5, 0.5, generator)
    return points[..., 2] - height - (points[..., :2] * slope).sum(dim=-1)


def enlarged(field: Tensor) -> Tensor:
    """A field on the slices' own grid: (B, T, n, n) to (B, T, N, N)."""
    return F.interpolate(field, scale_factor=FIELD_SCALE, mode="bilinear", align_corners=False)
