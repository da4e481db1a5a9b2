"""Clips to train on: slices with some structures, each painted on the first slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.normalisation import normalised
from slmsam2.synthesis.anatomy import AnatomySettings, label_volumes
from slmsam2.synthesis.appearance import render, shown
from slmsam2.synthesis.label_maps import LabelMaps, number_of_labels
from slmsam2.synthesis.noise import chance

FLOOD_SIZE = 64
FLOOD_STRIDE = 8  # steps between looks whether anything still grows


@dataclass(frozen=True)
class Clip:
    """A batch of clips.

    Attributes:
        frames: float32 (B, T, 3, N, N), normalised.
        masks: bool (B, O, T, N, N), O structures per clip; none is empty on slice 0.
    """

    frames: Tensor
    masks: Tensor


def synthetic_clips(
    batch: int,
    slices: int,
    size: int,
    generator: Generator,
    *,
    structures: int = 1,
    settings: AnatomySettings | None = None,
) -> Clip:
    """Draw clips on the generator's device; the same generator state gives the same clips."""
    settings = settings or AnatomySettings()
    labels = label_volumes(batch, slices, size, generator, settings)
    frames = normalised(render(labels, settings.labels, generator))
    chosen = (
        choose_structure(labels, settings.labels, settings.tissues, generator) for _ in range(structures)
    )
    return Clip(frames, torch.stack([part_of(labels, values, generator) for values in chosen], dim=1))


def mapped_clips(
    batch: int,
    slices: int,
    size: int,
    generator: Generator,
    maps: LabelMaps,
    *,
    structures: int = 1,
    settings: AnatomySettings | None = None,
) -> Clip:
    """Draw clips of label maps, in random contrast or as their images show them.

    The first structure is what each was cut around.
    """
    settings = settings or AnatomySettings()
    drawn = [maps.draw(slices, size, generator, settings) for _ in range(batch)]
    labels = torch.stack([one.labels for one in drawn])
    count = number_of_labels(settings)
    images = torch.empty(labels.shape, device=labels.device)
    made_up = [number for number, one in enumerate(drawn) if one.image is None]
    if made_up:
        images[made_up] = render(labels[made_up], count, generator)
    for number, one in enumerate(drawn):
        if one.image is not None:
            images[number] = shown(one.image[None], generator)[0]
    frames = normalised(images)
    chosen = [torch.tensor([[one.structure] for one in drawn], device=labels.device)]
    for _ in range(structures - 1):
        chosen.append(choose_structure(labels, count, settings.tissues, generator))
    return Clip(frames, torch.stack([part_of(labels, values, generator) for values in chosen], dim=1))


def joined(clips: Sequence[Clip]) -> Clip:
    """One batch of several."""
    return Clip(torch.cat([clip.frames for clip in clips]), torch.cat([clip.masks for clip in clips]))


def choose_structure(labels: Tensor, num_labels: int, tissues: int, generator: Generator) -> Tensor:
    """One value per volume that is on slice 0, int64 (B, 1); values up to ``tissues`` less often than others.

    Args:
        labels: int64 (B, T, N, N), below ``num_labels``.
    """
    batch, _, size, _ = labels.shape
    first = labels[:, 0].flatten(1)
    area = torch.zeros((batch, num_labels), device=labels.device)
    area.scatter_add_(1, first, torch.ones_like(first, dtype=area.dtype))
    share = area / size**2
    weight = ((share > 0.003) & (share < 0.4)).float() + 1e-6 * (area > 0)
    weight[:, 0] = 1e-9
    weight[:, 1 + tissues :] *= 4  # closed objects more often than organic regions
    return torch.multinomial(weight, 1, generator=generator)


def part_of(labels: Tensor, chosen: Tensor, generator: Generator) -> Tensor:
    """Of a structure per volume the connected part around a random one of its pixels on slice 0.

    Args:
        labels: int64 (B, T, N, N).
        chosen: int64 (B, 1), their values.

    Returns:
        bool (B, T, N, N).
    """
    batch, _, size, _ = labels.shape
    candidates = (labels[:, 0].flatten(1) == chosen).float()
    seed = F.one_hot(torch.multinomial(candidates, 1, generator=generator)[:, 0], size**2)
    region = labels == chosen.view(batch, 1, 1, 1)
    seeds = torch.zeros_like(region)
    seeds[:, 0] = seed.view(batch, size, size).bool()
    # an organ may be painted in several parts that meet nowhere in the clip
    all_parts = chance((batch, 1, 1, 1), 0.15, generator)
    return region & (all_parts | flood(region, seeds))


def flood(region: Tensor, seeds: Tensor) -> Tensor:
    """The part of ``region`` connected with ``seeds``, both bool (B, T, N, N), to within a few pixels.

    Grown on a coarse grid by repeated max-pooling, so that it runs in batches on any device.
    """
    size = region.shape[-1]
    scale = max(size // FLOOD_SIZE, 1)
    coarse = F.max_pool2d(region.float(), scale, ceil_mode=True)[:, None]
    grown = F.max_pool2d(seeds.float(), scale, ceil_mode=True)[:, None]
    for _ in range(FLOOD_SIZE // FLOOD_STRIDE):
        before = grown
        for _ in range(FLOOD_STRIDE):
            grown = F.max_pool3d(grown, 3, stride=1, padding=1) * coarse
        if torch.equal(grown, before):
            break
    return F.interpolate(grown[:, 0], scale_factor=scale, mode="nearest")[..., :size, :size] > 0
