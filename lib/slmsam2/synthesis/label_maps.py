"""Anatomy of people: label maps, cut, turned, stretched and bent at random.

A folder holds a folder for each kind of label maps, and in it a file for each map, as ``scripts/label_maps.py`` writes
them: ``labels`` (I, J, K) uint16, 0 where nothing is known; ``spacing`` (3) in mm; ``structures`` (n), the values worth
following; ``boxes`` (n, 3, 2), the voxels that each extends over; and where there is one, ``image`` (I, J, K) float16,
what was labelled, about 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.errors import ConfigurationError
from slmsam2.synthesis.anatomy import FIELD_SCALE, AnatomySettings, enlarged, largest, tissue_fields
from slmsam2.synthesis.noise import chance, log_uniform, smooth_field, uniform

MOST_VALUES = 34  # of a map, in one clip
WIDEST = 0.6  # half of a slice, times the map's longest side across
OFF_CENTRE = 0.3  # at most, times that side
STRETCH = (0.85, 1.18)
TILT = 0.12  # standard deviation, about each axis, in radians
WARP = (0.01, 0.12)  # amplitude, in half-widths
SPACING = (0.6, 6.0)  # between slices, in mm
MOST_SHARE = 0.45  # of the first slice that a structure takes
LEAST_PIXELS = 12  # of a structure on the first slice, in the map
LEAST_WIDTH = 4  # of a structure there, in voxels
FILLED = 0.6  # of the clips have tissue where nothing is known
REAL = 0.7  # of the clips of a map with an image show it
MOST_TRIES = 1000  # for one clip


@dataclass(frozen=True, eq=False)
class LabelMap:
    """One map: ``labels`` int32 (I, J, K), ``spacing`` (3) in mm, ``structures`` (n) and their ``boxes`` (n, 3, 2);
    ``image`` float16 (I, J, K), when there is one."""

    labels: Tensor
    spacing: Tensor
    structures: list[int]
    boxes: list[list[list[int]]]
    image: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Cutting:
    """One clip's worth of a map.

    Attributes:
        labels: int64 (T, N, N), 0 air, then tissues, then structures, below :func:`number_of_labels`.
        structure: the value of what it was cut around, which is on slice 0.
        image: float32 (T, N, N), in any scale, where the true image is to be shown.
    """

    labels: Tensor
    structure: int
    image: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a clip is cut from a map.

    Attributes:
        structure: value of what is on its first slice.
        centre: (3) of the first slice, in mm.
        half: half of a slice's width, in mm.
        frame: (3, 3), the directions of columns, rows and slices.
    """

    structure: int
    centre: Tensor
    half: float
    frame: Tensor


class LabelMaps:
    """Label maps by kind, each kind as likely as the others.

    Args:
        folder: see above.
        device: where clips are made.

    Raises:
        ConfigurationError: there are none.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder = folder
        self._kinds = [
            [_read(path, device) for path in sorted(kind.glob("*.npz"))] for kind in sorted(folder.glob("*/"))
        ]
        self._kinds = [maps for maps in self._kinds if maps]
        if not self._kinds:
            raise ConfigurationError(
                f"There are no label maps in '{folder}'. Make some: scripts/label_maps.py."
            )

    @property
    def pictured(self) -> bool:
        """Whether any map has an image."""
        return any(one.image is not None for maps in self._kinds for one in maps)

    def draw(self, slices: int, size: int, generator: Generator, settings: AnatomySettings) -> Cutting:
        """What one clip is made of.

        Args:
            slices, size: T and N.
            generator: on the maps' device.
            settings: how far apart slices are, how much they move, how many tissues there are, and how large a
                structure is.

        Raises:
            ConfigurationError: none was found in MOST_TRIES tries.
        """
        for _ in range(MOST_TRIES):
            kind = self._kinds[_below(len(self._kinds), generator)]
            source = kind[_below(len(kind), generator)]
            place = _place(source, generator, settings.room)
            if place is None:
                continue
            points = _points(place, slices, size // FIELD_SCALE, generator, settings)
            labels, value = _cut(source, place, points, generator, settings)
            share = float((labels[0] == value).float().mean())
            if settings.least_share <= share <= MOST_SHARE:
                return Cutting(labels, value, _image(source, place, points, generator))
        raise ConfigurationError(
            f"No structure of the label maps in '{self._folder}' is large enough on a slice, or small enough, to be "
            "shown. Prepare them anew with scripts/label_maps.py, or change the settings room and least_share."
        )


def can_be_placed(structure: np.ndarray) -> bool:
    """Whether a structure, bool (i, j, k), is large enough for a clip to begin on one of its slices, along any axis."""
    slices = (one for axis in range(3) for one in np.moveaxis(structure, axis, 0))
    return any(_large_enough(np.argwhere(one)) for one in slices)


def _large_enough(pixels: np.ndarray) -> bool:
    """LEAST_PIXELS and LEAST_WIDTH, of the places (n, 2) of a structure's pixels on a slice."""
    return len(pixels) >= LEAST_PIXELS and int(np.ptp(pixels, axis=0).max()) + 1 >= LEAST_WIDTH


def number_of_labels(settings: AnatomySettings) -> int:
    """Air, tissues, and what may come from a map."""
    return 1 + settings.tissues + MOST_VALUES


def _read(path: Path, device: torch.device) -> LabelMap:
    with np.load(path) as file:
        labels = torch.from_numpy(file["labels"].astype(np.int32)).to(device)
        spacing = torch.from_numpy(file["spacing"].astype(np.float32)).to(device)
        image = torch.from_numpy(file["image"]).to(device) if "image" in file else None
        return LabelMap(labels, spacing, file["structures"].tolist(), file["boxes"].tolist(), image)


def _place(source: LabelMap, generator: Generator, room: tuple[float, float]) -> _Place | None:
    """Around a random structure, on a random slice along a random axis; None where too little of it is there."""
    device = source.labels.device
    number = _below(len(source.structures), generator)
    axis = _below(3, generator)
    first, last = source.boxes[number][axis]
    index = first + _below(last - first, generator)
    pixels = (source.labels.select(axis, index) == source.structures[number]).nonzero()
    if len(pixels) < LEAST_PIXELS:
        return None
    in_plane = [other for other in range(3) if other != axis]
    low, high = (pixels.amin(dim=0), pixels.amax(dim=0) + 1)
    if int((high - low).amax()) < LEAST_WIDTH:
        return None
    low, high = (edge * source.spacing[in_plane] for edge in (low, high))
    side = float((high - low).amax())
    centre = torch.zeros(3, device=device)
    centre[in_plane] = (low + high) / 2 + side * uniform((2,), -OFF_CENTRE, OFF_CENTRE, generator)
    centre[axis] = (index + 0.5) * source.spacing[axis]
    widest = max(source.labels.shape[one] * float(source.spacing[one]) for one in in_plane)
    half = min(side * (0.5 + float(log_uniform((1,), *room, generator))), WIDEST * widest)
    return _Place(source.structures[number], centre, half, _frame(axis, in_plane, generator))


def _frame(axis: int, in_plane: list[int], generator: Generator) -> Tensor:
    """Directions (3, 3) of columns, rows and slices: along the map's axes but for a small turn, stretched."""
    device = generator.device
    along = in_plane if bool(chance((1,), 0.5, generator)) else in_plane[::-1]
    signs = torch.where(chance((3,), 0.5, generator), 1.0, -1.0)
    frame = torch.eye(3, device=device)[[*along, axis]] * signs[:, None]
    x, y, z = torch.randn(3, generator=generator, device=device) * TILT
    zero = torch.zeros((), device=device)
    turn = torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3))
    return torch.diag(log_uniform((3,), *STRETCH, generator)) @ frame @ turn


def _points(place: _Place, slices: int, size: int, generator: Generator, settings: AnatomySettings) -> Tensor:
    """Where the clip's voxels are, (T, n, n, 3) in half-widths, x, y, z, bent and shaken."""
    device = generator.device
    line = torch.linspace(-1, 1, size, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    spacing = float(log_uniform((1,), *settings.slice_step, generator)) * place.half
    step = min(max(spacing, SPACING[0]), SPACING[1]) / place.half
    z = step * torch.arange(slices, device=device).view(-1, 1, 1)
    points = torch.stack(torch.broadcast_tensors(x[None], y[None], z), dim=-1)
    shift = torch.randn((slices, 1, 1, 3), generator=generator, device=device)
    shift[..., 2] = 0
    strength = uniform((1,), 0.0, settings.motion, generator) * chance((1,), 0.5, generator)
    points = (points + shift * strength)[None]
    bend = smooth_field(points, 3, 4, generator) + 0.4 * smooth_field(points, 3, 9, generator)
    return (points + log_uniform((1,), *WARP, generator) * bend.permute(0, 2, 3, 4, 1))[0]


def _cut(
    source: LabelMap, place: _Place, points: Tensor, generator: Generator, settings: AnatomySettings
) -> tuple[Tensor, int]:
    """The map at ``points``, outlines smooth, its values renumbered; (T, N, N) and the structure's value."""
    block, grid = _block(source.labels, _voxels(source, place, points))
    near = F.grid_sample(
        block[None, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    values, counts = near.int().unique(return_counts=True)
    order = values[counts.argsort(descending=True, stable=True)].tolist()
    kept = [value for value in order if value not in (0, place.structure)][: MOST_VALUES - 1]
    kept.insert(0, place.structure)
    best = enlarged(_sampled(block == 0, grid))
    labels = torch.zeros(best.shape, dtype=torch.int64, device=best.device)
    if bool(chance((1,), FILLED, generator)):
        labels = largest(tissue_fields(points[None], generator, settings))
    new = torch.randperm(MOST_VALUES, generator=generator, device=generator.device) + 1 + settings.tissues
    for number, value in zip(new, kept, strict=False):
        field = enlarged(_sampled(block == value, grid))
        labels = torch.where(field > best, number, labels)
        best = torch.maximum(best, field)
    return labels[0], int(new[0])


def _image(source: LabelMap, place: _Place, points: Tensor, generator: Generator) -> Tensor | None:
    """The map's image at ``points``, on the slices' own grid, (T, N, N); None where it has none, or by chance."""
    if source.image is None or not bool(chance((1,), REAL, generator)):
        return None
    fine = enlarged(points.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    block, grid = _block(source.image, _voxels(source, place, fine))
    return _sampled(block, grid)[0]


def _voxels(source: LabelMap, place: _Place, points: Tensor) -> Tensor:
    """Where in a map ``points`` (T, n, n, 3) are, in voxels."""
    return (place.centre + place.half * (points @ place.frame)) / source.spacing - 0.5


def _block(volume: Tensor, voxels: Tensor) -> tuple[Tensor, Tensor]:
    """The part of a volume around ``voxels`` (T, n, n, 3), and where they lie in it, for ``grid_sample``."""
    shape = torch.tensor(volume.shape, device=volume.device)
    low = torch.minimum(voxels.flatten(0, 2).amin(dim=0).floor().long().clamp_min(0), shape - 1)
    high = torch.minimum(voxels.flatten(0, 2).amax(dim=0).ceil().long() + 1, shape)
    high = torch.maximum(high, low + 1)
    first, last = low.tolist(), high.tolist()
    block = volume[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    grid = (voxels - low + 0.5) / (high - low) * 2 - 1
    return block, grid.flip(-1)[None]  # the last axis is x


def _sampled(block: Tensor, grid: Tensor) -> Tensor:
    """A block (i, j, k) at each point, (1, T, n, n); of a region, bool, how much of it is there, 0 to 1."""
    volume = block[None, None].float()
    return F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=False)[:, 0]


def _below(count: int, generator: Generator) -> int:
    """A random number from 0 to ``count`` - 1."""
    return int(torch.randint(0, count, (1,), generator=generator, device=generator.device))
