"""Clips of labelled volumes, drawn and distorted as in the published training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.functional import adjust_brightness, adjust_contrast

from slmsam2.engine.tracker import square_mask
from slmsam2.errors import ConfigurationError
from slmsam2.modeling import SLMSAM2
from slmsam2.normalisation import IMAGENET_MEAN, grey_of, normalised
from slmsam2.paper.layout import Entry
from slmsam2.paper.volumes import SliceStack
from slmsam2.synthesis.noise import uniform
from slmsam2.training.clip import EncodedClips, encode_clips
from slmsam2.training.lessons import RealClip
from slmsam2.training.prompts import PromptPlan, PromptSettings, draw_plan
from slmsam2.training.views import Distortion, DistortionSettings
from slmsam2.volume import Frames

TRIES = 8  # distortions, until the structures stay on the first slice
FILL = sum(IMAGENET_MEAN) / 3  # brightness of what comes in from beyond the border


@dataclass(frozen=True)
class Jitter:
    """Brightness and contrast change by factors of up to 1 - x to 1 + x."""

    brightness: float = 0.0
    contrast: float = 0.0

    def draw(self, generator: Generator) -> tuple[float, float]:
        """Two factors."""
        brightness, contrast = uniform((2,), -1.0, 1.0, generator).tolist()
        return 1 + self.brightness * brightness, 1 + self.contrast * contrast


@dataclass(frozen=True)
class DrawSettings:
    """How clips are drawn; see ``model/configs/slm_sam2_hiera_t_finetune.yaml``.

    Attributes:
        slices: T, neighbouring slices of a clip; fewer of volumes that have fewer.
        objects: of a clip at most.
        multiplier: how often each volume comes in an epoch.
        reverse: probability that a clip runs towards lower slices.
        flip, degrees, shear: horizontal mirroring (probability), turn and shear (degrees, either way) of a whole clip.
        clip_jitter, slice_jitter: brightness and contrast, the same for a clip, and on top for each of its slices.
        prompts: on the first slice.
    """

    slices: int
    objects: int
    multiplier: int
    reverse: float
    flip: float
    degrees: float
    shear: float
    clip_jitter: Jitter
    slice_jitter: Jitter
    prompts: PromptSettings


class VolumeClips:
    """Draws a clip of each volume per epoch, in random order; which ones depends on seed, step and number only.

    Greyscale and saturation of the published training change nothing here: images are grey.

    Args:
        entries: the volumes.
        read: reads them.
        network: gives the size of frames, and encodes them.
        settings: how clips are drawn.
        per_step: clips of a step, over all processes.
        seed: of the run.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        read: Callable[[Entry], SliceStack],
        network: SLMSAM2,
        settings: DrawSettings,
        *,
        per_step: int,
        seed: int,
    ):
        self._entries, self._read, self._network = list(entries), read, network
        self._settings, self._per_step, self._seed = settings, per_step, seed

    @property
    def per_epoch(self) -> int:
        """Clips in an epoch."""
        return len(self._entries) * self._settings.multiplier

    def entry(self, step: int, number: int) -> Entry:
        """The volume that clip ``number`` of a step is of."""
        epoch, place = divmod(step * self._per_step + number, self.per_epoch)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        order = torch.randperm(self.per_epoch, generator=generator)
        return self._entries[int(order[place]) % len(self._entries)]

    def draw(self, step: int, number: int) -> RealClip:
        """Clip ``number`` of a step.

        Raises:
            ConfigurationError: nothing is drawn in the volume's masks.
        """
        position = step * self._per_step + number
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + 500_009 * (position + 1))
        stack = self._read(self.entry(step, number))
        route = draw_route(stack, self._settings, generator)
        ids = draw_ids(stack, route[0], self._settings.objects, generator)
        frames, masks = self._look(stack, route, ids, generator)
        known = torch.from_numpy(stack.masked[route]).expand(len(ids), -1)
        prompts = self._settings.prompts
        plan = draw_plan(prompts, len(route), generator) if len(route) > 1 else PromptPlan("box", {0: 1})
        frames = frames[None].to(self._network.device)
        return RealClip(frames, None, masks[None], known, plan, generator)

    def encode(self, clip: RealClip) -> EncodedClips:
        """The clip's features, with gradients."""
        return encode_clips(self._network, clip.frames)  # type: ignore[arg-type]

    def _look(
        self, stack: SliceStack, route: list[int], ids: list[int], generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Distorted frames (T, 3, N, N), normalised, and masks bool (O, T, N, N)."""
        size = self._network.image_size
        labels = stack.labels[route]  # type: ignore[index]
        masks = torch.stack([torch.stack([square_mask(s == one, size)[0, 0] for s in labels]) for one in ids])
        for _ in range(TRIES):
            matrix = _draw_matrix(self._settings, stack.image.shape[1:], generator)
            moved = _moved(masks, matrix) >= 0.5
            if moved[:, 0].flatten(1).any(dim=1).all():
                break
        else:
            matrix, moved = None, masks >= 0.5
        grey = _grey(stack, route, size)
        if matrix is not None:
            grey = _moved(grey - FILL, matrix) + FILL
        return normalised(jittered(grey, self._settings, generator)[:, 0]), moved


def draw_route(stack: SliceStack, settings: DrawSettings, generator: Generator) -> list[int]:
    """Neighbouring slices, the first of them with a structure on it; each such start is as likely.

    Raises:
        ConfigurationError: nothing is drawn in the masks.
    """
    labels = stack.labels
    drawn = np.zeros(len(stack.image), bool) if labels is None else (labels != 0).any(axis=(1, 2))
    if not drawn.any():
        raise ConfigurationError(
            f"Nothing is drawn in the masks of '{stack.name}': take it off the list, or add its masks."
        )
    forward, pick = torch.rand(2, generator=generator).tolist()
    step = -1 if forward < settings.reverse else 1
    order = np.arange(len(drawn))[::step]
    length = min(settings.slices, len(order))
    starts = np.flatnonzero(drawn[order][: len(order) - length + 1])
    if not starts.size:  # only near the end: a shorter clip
        starts = np.flatnonzero(drawn[order])
    start = int(starts[int(pick * len(starts))])
    return order[start : start + length].tolist()


def draw_ids(stack: SliceStack, index: int, most: int, generator: Generator) -> list[int]:
    """Up to ``most`` of the objects on a slice, each as likely as the others."""
    there = [int(one) for one in np.unique(stack.labels[index]) if one]  # type: ignore[index]
    return [there[i] for i in torch.randperm(len(there), generator=generator)[:most].tolist()]


def _draw_matrix(settings: DrawSettings, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Output to input positions of a slice with (H, W) pixels, (2, 3), both -1 to 1: turned without changing shapes."""
    distortion = DistortionSettings(
        degrees=settings.degrees, shear=settings.shear, scale=0.0, shift=0.0, flip=settings.flip
    )
    matrix = Distortion.draw(distortion, generator).matrix
    height, width = shape
    sides = torch.tensor([float(width), float(height)])
    linear = matrix[:, :2] * sides[None] / sides[:, None]  # type: ignore[index]
    return torch.cat([linear, torch.zeros(2, 1)], dim=1)


def _moved(images: Tensor, matrix: Tensor) -> Tensor:
    """Images (B, C, N, N) turned within the slices; 0 comes in from beyond the border."""
    grid = F.affine_grid(matrix.expand(len(images), -1, -1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _grey(stack: SliceStack, route: list[int], size: int) -> Tensor:
    """The slices as shown, 0 to 1, (T, 1, N, N)."""
    frames = Frames(stack.image, stack.window, size)
    return torch.stack([grey_of(frames[s])[None] for s in route])


def jittered(grey: Tensor, settings: DrawSettings, generator: Generator) -> Tensor:
    """Brightness and contrast changed, of slices (T, 1, N, N) of 0 to 1."""
    brightness, contrast = settings.clip_jitter.draw(generator)
    grey = adjust_contrast(adjust_brightness(grey.clamp(0, 1), brightness), contrast)
    slices = []
    for one in grey:
        brightness, contrast = settings.slice_jitter.draw(generator)
        slices.append(adjust_contrast(adjust_brightness(one, brightness), contrast))
    return torch.stack(slices)
