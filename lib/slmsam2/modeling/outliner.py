"""A small network that draws what clicks, strokes and a box on one slice mean, beside SLM-SAM 2.

A U-Net (Ronneberger et al. 2015) that sees the image together with maps of the marks and of the mask so far, as
interactive segmentation does since RITM (Sofiiuk et al. 2022). It works on squares of :data:`SIDE` pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slmsam2.errors import CheckpointError
from slmsam2.modeling.checkpoint import load_content, write_content
from slmsam2.modeling.network import LOGIT_LIMIT

FORMAT = 2
LEVELS = 127  # of a kernel's weights on either side of 0, in a file
LEAST_STEP = 1e-8  # between levels
SIDE = 128  # pixels of its image
CHANNELS = 8  # of what it sees
WIDTHS = (16, 32, 64, 96, 128, 128)  # channels, from the finest level to the coarsest
CLICK_RADIUS = 3.0  # of a click's own spot, in pixels
CLICK_REACH = 24.0  # how far around it is known where it is
LIKENESS = 0.08  # difference of intensities that counts as one, of the window


@dataclass(frozen=True)
class Hints:
    """What is known of the structures on B slices, in pixels of (SIDE, SIDE).

    Attributes:
        points: float32 (B, P, 2), x and y of clicks; a pixel's centre is at + 0.5.
        inside: bool (B, P), which of them are on the structure.
        box: float32 (B, 4), left, top, right, bottom; None without.
        prior: mask logits (B, SIDE, SIDE) to be corrected, or what a box begins with; None without.
    """

    points: Tensor
    inside: Tensor
    box: Tensor | None = None
    prior: Tensor | None = None


class Outliner(nn.Module):
    """The network; ``info`` says which version it is and how it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.info: dict[str, Any] = {"version": "untrained", "trained": {}}
        self.down = nn.ModuleList(
            _Block(before, after) for before, after in zip((CHANNELS, *WIDTHS), WIDTHS, strict=False)
        )
        self.up = nn.ModuleList(
            _Block(coarse + fine, fine) for coarse, fine in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, seen: Tensor) -> Tensor:
        """Mask logits (B, SIDE, SIDE) for what :func:`seen_with` gives, (B, CHANNELS, SIDE, SIDE)."""
        x = seen.contiguous(memory_format=torch.channels_last)
        levels = []
        for number, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if number else x)
            levels.append(x)
        for block, fine in zip(self.up, levels[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), fine], dim=1))
        return self.head(x)[:, 0].float()


class _Block(nn.Module):
    """Two convolutions and a way around them, (B, before, h, w) to (B, after, h, w)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.around = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(self.around(x) + inner)


def as_prior(masks: Tensor) -> Tensor:
    """Masks, bool or share of each pixel (B, SIDE, SIDE), as ones to be corrected: mask logits."""
    return masks.float() * 2 * LOGIT_LIMIT - LOGIT_LIMIT


def seen_at_last(network: nn.Module, images: Tensor, hints: Hints) -> Tensor:
    """What the network sees of images and hints, as :func:`seen_with`, when it has looked once before where it should.

    From a box, or without a mask to correct from the first point, which is on the structure, it first draws a mask,
    which all hints correct then.
    """
    first = _first(hints)
    if first is not None:
        with torch.no_grad():
            begun = network(seen_with(images, first))
        hints = replace(hints, prior=begun.clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
    return seen_with(images, hints)


def _first(hints: Hints) -> Hints | None:
    """What is looked at first; None where all hints are at once."""
    count = hints.points.shape[1]
    if hints.box is not None:
        return replace(hints, points=hints.points[:, :0], inside=hints.inside[:, :0]) if count else None
    if hints.prior is not None or count < 2:
        return None
    return replace(hints, points=hints.points[:, :1], inside=hints.inside[:, :1])


def seen_with(images: Tensor, hints: Hints) -> Tensor:
    """What the network sees of images, float32 (B, SIDE, SIDE), 0 to 1, and hints: (B, CHANNELS, SIDE, SIDE)."""
    blurred = F.avg_pool2d(images[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    mean, deviation = images.mean(dim=(1, 2), keepdim=True), images.std(dim=(1, 2), keepdim=True)
    nothing = torch.zeros_like(images)
    return torch.stack(
        [
            images * 2 - 1,
            (images - mean) / (deviation + 1e-3),
            _nearness(hints.points, hints.inside),
            _nearness(hints.points, ~hints.inside),
            _likeness(blurred, hints),
            nothing if hints.box is None else _boxed(hints.box),
            nothing if hints.prior is None else torch.tanh(hints.prior / 4),
            nothing if hints.prior is None else nothing + 1,
        ],
        dim=1,
    )


def _centres(like: Tensor) -> Tensor:
    """Of pixels along one side, float32 (SIDE,)."""
    return torch.arange(SIDE, device=like.device, dtype=torch.float32) + 0.5


def _nearness(points: Tensor, which: Tensor) -> Tensor:
    """How near the nearest of some points is, (B, SIDE, SIDE): 1.5 on it, 0 far away or where there is none."""
    line = _centres(points)
    across = (line - points[..., :1]) ** 2  # (B, P, SIDE)
    along = (line - points[..., 1:]) ** 2
    nearest = _least(across[:, :, None] + along[..., None], which)
    return torch.exp(-nearest / (2 * CLICK_RADIUS**2)) + 0.5 * torch.exp(-nearest.sqrt() / CLICK_REACH)


def _likeness(images: Tensor, hints: Hints) -> Tensor:
    """How much a pixel looks like the one of the clicks on the structure that it looks most like, (B, SIDE, SIDE)."""
    places = hints.points[:, :, None] / SIDE * 2 - 1
    seen = F.grid_sample(images[:, None], places, padding_mode="border", align_corners=False)  # (B, 1, P, 1)
    differences = (images[:, None] - seen[:, 0, ..., None]).abs()
    return torch.exp(-_least(differences, hints.inside) / LIKENESS)


def _least(values: Tensor, which: Tensor) -> Tensor:
    """The least of those values, (B, P, SIDE, SIDE), that count, bool (B, P); infinite where none does."""
    counting = values.masked_fill(~which[..., None, None], torch.inf)
    return F.pad(counting, (0, 0, 0, 0, 0, 1), value=torch.inf).amin(dim=1)


def _boxed(box: Tensor) -> Tensor:
    """1 in a box, -1 outside, (B, SIDE, SIDE)."""
    line = _centres(box)
    across = (line > box[:, 0, None]) & (line < box[:, 2, None])
    along = (line > box[:, 1, None]) & (line < box[:, 3, None])
    return (along[:, :, None] & across[:, None]).float() * 2 - 1


def save_outliner(path: Path, network: Outliner, version: str, trained: dict[str, Any]) -> None:
    """Write weights, and how they were made, in one piece: kernels in 8 bits, the rest in half precision."""
    content: dict[str, Any] = {"format": FORMAT, "info": {"version": version, "trained": trained}}
    content |= {"outliner": {}, "steps": {}}
    for name, weight in network.state_dict().items():
        if weight.dim() == 4:
            step = (weight.abs().amax(dim=(1, 2, 3), keepdim=True) / LEVELS).clamp_min(LEAST_STEP)
            content["steps"][name] = step.float()
            content["outliner"][name] = (weight / step).round().to(torch.int8).contiguous()
        else:
            content["outliner"][name] = weight.half() if weight.is_floating_point() else weight
    write_content(path, content)


def read_outliner(path: Path) -> Outliner:
    """The network of a file of :func:`save_outliner`, in eval mode, on the CPU.

    Raises:
        CheckpointError: missing, damaged, or of another network.
    """
    content = load_content(path)
    network = Outliner()
    try:
        if content["format"] != FORMAT:
            raise CheckpointError(
                f"{path} was written in format {content['format']}; this release reads format {FORMAT}."
            )
        steps = content["steps"]
        weights = {k: v * steps[k] if k in steps else v for k, v in content["outliner"].items()}
        network.load_state_dict(weights)
        network.info = dict(content["info"])
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not hold the network that draws outlines from marks.") from error
    return network.eval().to(memory_format=torch.channels_last)
