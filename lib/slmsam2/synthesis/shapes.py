"""Closed shapes as fields that are below 1 inside and 1 on the surface, one random shape per volume of a batch.

All take points (B, T, n, n, 3) in half-widths of the slice, and ``mean``, a typical radius (B,); all give (B, T, n, n).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from slmsam2.synthesis.noise import chance, log_uniform, random_rotations, smooth_field, uniform

TUBE_NODES = 6


def superquadric(points: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    """Ellipsoids, boxes, rods and plates: from the exponent and the ratios of the radii."""
    centre = random_centre(mean, generator)
    return _superquadric_at(points, centre, mean, generator)


def cluster(points: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    """Three lobes that touch or nearly so: a structure that splits and merges from slice to slice."""
    centre = random_centre(mean, generator)
    lobes = []
    for _ in range(3):
        offset = uniform((len(mean), 3), -1.2, 1.2, generator) * mean[:, None]
        lobes.append(_superquadric_at(points, centre + offset, 0.7 * mean, generator))
    return torch.stack(lobes).amin(dim=0)


def branching_tube(points: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    """A winding tube that passes slice 0, of varying width, with a branch from one of its middle nodes."""
    radius = 0.35 * mean
    start = random_centre(mean, generator)
    trunk = _walk(start, mean, generator)
    node = torch.randint(1, TUBE_NODES - 1, (len(mean),), generator=generator, device=mean.device)
    fork = trunk[torch.arange(len(mean), device=mean.device), node]
    branch = _walk(fork, mean, generator)
    branch_radius = radius * uniform((len(mean),), 0.4, 0.9, generator)
    # about half of the tubes have no branch
    branch_radius = branch_radius * chance((len(mean),), 0.5, generator) + 1e-4
    width = 1 + 0.35 * smooth_field(points, 1, 4, generator)[:, 0].clamp(-2, 2)
    both = torch.minimum(
        _distance(points, trunk) / radius.view(-1, 1, 1, 1),
        _distance(points, branch) / branch_radius.view(-1, 1, 1, 1),
    )
    return both / width


def sheet(points: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    """A thin curved layer of limited extent."""
    centre = random_centre(mean, generator)
    rotation = random_rotations(len(mean), generator)
    local = torch.einsum("bthwc,bcd->bthwd", points - centre.view(-1, 1, 1, 1, 3), rotation)
    local = local / mean.view(-1, 1, 1, 1, 1)
    bend = 0.5 * smooth_field(local.clamp(-1, 1), 1, 3, generator)[:, 0]
    thickness = log_uniform((len(mean), 1, 1, 1), 0.06, 0.3, generator)
    return torch.maximum((local[..., 2] + bend).abs() / thickness, local[..., :2].norm(dim=-1) / 1.5)


def random_centre(mean: Tensor, generator: Generator) -> Tensor:
    """Anywhere on the slice, and so close to slice 0 that most shapes are on it: (B, 3)."""
    centre = uniform((len(mean), 3), -0.8, 0.8, generator)
    centre[:, 2] = uniform((len(mean),), -1.0, 1.0, generator) * mean
    return centre


def _superquadric_at(points: Tensor, centre: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    batch = len(mean)
    ratios = log_uniform((batch, 3), 0.5, 2.0, generator)
    rod = torch.tensor([0.4, 0.4, 6.0], device=mean.device)
    ratios = torch.where(chance((batch, 1), 0.15, generator), rod, ratios)
    radii = mean[:, None] * ratios
    rotation = random_rotations(batch, generator)
    power = uniform((batch, 1, 1, 1, 1), 1.6, 4.0, generator)
    local = torch.einsum("bthwc,bcd->bthwd", points - centre.view(batch, 1, 1, 1, 3), rotation)
    scaled = (local / radii.view(batch, 1, 1, 1, 3)).abs().clamp(1e-4, 1e4)
    return scaled.pow(power).sum(-1).pow(1 / power[..., 0])


def _walk(start: Tensor, mean: Tensor, generator: Generator) -> Tensor:
    """Nodes of a winding line that begins at ``start`` (B, 3): (B, TUBE_NODES, 3)."""
    count = (len(start), TUBE_NODES - 1, 3)
    heading = torch.randn((len(start), 1, 3), generator=generator, device=start.device)
    turns = torch.randn(count, generator=generator, device=start.device)
    steps = heading / heading.norm(dim=-1, keepdim=True) + 0.35 * turns
    steps = steps * mean.view(-1, 1, 1) * uniform((len(start), 1, 1), 0.5, 1.2, generator)
    return torch.cat([start[:, None], start[:, None] + steps.cumsum(dim=1)], dim=1)


def _distance(points: Tensor, nodes: Tensor) -> Tensor:
    """Distance from the line through ``nodes`` (B, M, 3), segment by segment."""
    nearest = torch.full(points.shape[:-1], torch.inf, device=points.device)
    for first, last in zip(nodes[:, :-1].unbind(dim=1), nodes[:, 1:].unbind(dim=1), strict=True):
        origin, along = first.view(-1, 1, 1, 1, 3), (last - first).view(-1, 1, 1, 1, 3)
        offset = points - origin
        share = ((offset * along).sum(-1) / along.square().sum(-1).clamp_min(1e-8)).clamp(0, 1)
        nearest = torch.minimum(nearest, (offset - share[..., None] * along).square().sum(-1))
    return nearest.sqrt()
