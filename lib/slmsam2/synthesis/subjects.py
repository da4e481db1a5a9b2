"""Whole volumes of one kind of anatomy: every subject has the same structures, in another shape.

Unlike the random anatomy that the embedded model is trained on, these are something to learn: a muscular wall that is
hardly brighter than what it encloses, and a winding duct of the same tissue as its many look-alikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.synthesis.noise import smooth_field, uniform

STRUCTURES = {"wall": 1, "duct": 2}
SHAPE = (96, 96, 40)  # i, j, k
SPACING = (1.5, 1.5, 3.0)  # mm
WARP = 0.10  # amplitude of the deformation, in half-widths of the volume
LOOK_ALIKES = 3


@dataclass(frozen=True)
class Subject:
    """A volume with its labels.

    Attributes:
        image: float32 (I, J, K), about 0 to 1000.
        label: uint8 (I, J, K), values of STRUCTURES.
        affine: (4, 4), voxel -> RAS+ mm.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def make_subject(seed: int) -> Subject:
    """Subject number ``seed``; the same number gives the same volume."""
    generator = torch.Generator().manual_seed(seed)
    points = _points(generator)
    x, y = points[..., 0], points[..., 1]
    tissue = smooth_field(points[None], 1, 6, generator)[0, 0]
    image = 0.45 + 0.05 * tissue
    image = torch.where((x**2 + y**2) / 0.85**2 > 1, torch.tensor(0.05), image)
    label = torch.zeros(image.shape, dtype=torch.uint8)

    organ = _ellipsoid(points, (-0.25, 0.1, 0.0), (0.34, 0.28, 0.55), generator)
    thickness = float(uniform((1,), 0.74, 0.8, generator))
    wall, cavity = (organ < 1) & (organ >= thickness), organ < thickness
    image = torch.where(cavity, 0.5 + 0.03 * tissue, image)
    image = torch.where(wall, 0.56 + 0.03 * tissue, image)
    label[wall] = STRUCTURES["wall"]

    for number in range(1 + LOOK_ALIKES):
        bright = _duct(points, number, generator) & (organ >= 1)
        image = torch.where(bright, 0.62 + 0.03 * tissue, image)
        if number == 0:
            label[bright] = STRUCTURES["duct"]
    image = _imaged(image, generator)
    affine = np.diag([*SPACING, 1.0])
    return Subject((1000 * image).numpy().astype(np.float32), label.numpy(), affine)


def _points(generator: Generator) -> Tensor:
    """Positions of the voxels after a smooth deformation, (I, J, K, 3) in -1..1."""
    lines = [torch.linspace(-1, 1, size) for size in SHAPE]
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    warp = smooth_field(points[None], 3, 4, generator)[0]
    return points + WARP * warp.permute(1, 2, 3, 0)


def _ellipsoid(
    points: Tensor, centre: tuple[float, ...], radii: tuple[float, ...], generator: Generator
) -> Tensor:
    """Below 1 inside; centre and radii vary a little."""
    moved = torch.tensor(centre) + uniform((3,), -0.06, 0.06, generator)
    scaled = torch.tensor(radii) * uniform((3,), 0.85, 1.15, generator)
    return ((points - moved) / scaled).norm(dim=-1)


def _duct(points: Tensor, number: int, generator: Generator) -> Tensor:
    """A winding tube along z; the first is on the right side, its look-alikes stand around it."""
    angle = 2 * math.pi * number / (1 + LOOK_ALIKES)
    phase, swing = float(uniform((1,), 0, 6.28, generator)), float(uniform((1,), 0.04, 0.09, generator))
    x, y, z = points.unbind(dim=-1)
    centre_x = 0.42 + 0.16 * math.cos(angle) + swing * torch.sin(3 * z + phase)
    centre_y = -0.1 + 0.16 * math.sin(angle) + swing * torch.cos(2.5 * z + phase)
    radius = float(uniform((1,), 0.055, 0.07, generator))
    ends = uniform((2,), 0.45, 0.8, generator)
    return ((x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2) & (z > -ends[0]) & (z < ends[1])


def _imaged(image: Tensor, generator: Generator) -> Tensor:
    """Partial volume and Rician noise."""
    blurred = F.avg_pool3d(F.pad(image[None, None], (0, 0, 1, 1, 1, 1), mode="replicate"), (3, 3, 1), 1)[0, 0]
    real, imaginary = (torch.randn(image.shape, generator=generator) for _ in range(2))
    return ((blurred + 0.035 * real) ** 2 + (0.035 * imaginary) ** 2).sqrt()
