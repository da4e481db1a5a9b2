"""What an annotator would mark on a slice: clicks, strokes, a box, and clicks that correct a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.modeling.outliner import SIDE, Hints, as_prior
from slmsam2.synthesis.noise import chance, log_uniform, smooth_field, uniform
from slmsam2.training.prompts import first_points

KINDS = ("click", "box", "strokes", "mask")
MOST_STROKES = 4  # points of a kind at once
BOX_SLIP = (0.005, 0.1)  # how far a box is off at most, of its sides: some are drawn with care
MIDDLE = 0.6  # of the clicks go to the middle of what they are for, the others anywhere on it
TOLERANCE = (0.03, 0.3)  # differences of intensities that count as none, of the window
DEEPEST = 24  # pixels from its outline that a middle is looked for


def first_hints(shares: Mapping[str, float], images: Tensor, masks: Tensor, generator: Generator) -> Hints:
    """What is marked first on each of B slices, one kind for all of them.

    Args:
        shares: how often each of :data:`KINDS`.
        images: float32 (B, n, n), 0 to 1.
        masks: bool (B, n, n), none of them empty.
    """
    weights = torch.tensor([shares[kind] for kind in KINDS], device=generator.device)
    kind = KINDS[int(torch.multinomial(weights, 1, generator=generator))]
    none = Hints(
        torch.zeros((len(masks), 0, 2), device=masks.device),
        torch.zeros((len(masks), 0), dtype=torch.bool, device=masks.device),
    )
    if kind == "click":
        return with_click(none, torch.zeros_like(masks), masks, generator)
    if kind == "box":
        box = _boxes(masks, generator)
        return replace(none, box=box, prior=as_prior(_begun(box, images, masks, generator)))
    if kind == "strokes":
        inside, outside = torch.randint(
            0, MOST_STROKES + 1, (2,), generator=generator, device=generator.device
        )
        near = F.max_pool2d(masks[:, None].float(), 2 * _reach(masks) + 1, 1, _reach(masks))[:, 0] > 0
        hints = none
        for _ in range(max(int(inside), 1)):
            hints = _added(hints, _drawn(masks.float(), generator), inside=True)
        for _ in range(int(outside)):
            hints = _added(hints, _drawn((near & ~masks).float(), generator), inside=False)
        return hints
    found = spoilt(masks, generator)
    return with_click(replace(none, prior=as_prior(found)), found, masks, generator)


def with_click(hints: Hints, found: Tensor, masks: Tensor, generator: Generator) -> Hints:
    """One more click, where ``found`` is wrong; anywhere on the structure where nothing is.

    Args:
        found, masks: bool (B, n, n), what there is and what should be.
    """
    wrong = found ^ masks
    wrong = torch.where(wrong.flatten(1).any(dim=1)[:, None, None], wrong, masks)
    middle = chance((len(masks), 1, 1), MIDDLE, generator)
    depth = _depth(wrong) * uniform(tuple(wrong.shape), 1.0, 1.1, generator)
    deepest = (depth >= depth.amax(dim=(1, 2), keepdim=True)).float()
    places = _drawn(torch.where(middle, deepest, wrong.float()), generator)
    return _added(hints, places, inside=masks.flatten(1).gather(1, places)[:, 0])


def spoilt(masks: Tensor, generator: Generator) -> Tensor:
    """Masks, bool (B, n, n), as somebody might want them corrected.

    All are bent and moved; of some a part is lost, or there is something beside them, or they are too large or small.
    """
    batch, side = masks.shape[:2]
    size = masks.float().mean(dim=(1, 2)).sqrt().clamp_min(0.05).view(-1, 1, 1, 1)
    line = torch.linspace(-1, 1, side, device=masks.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    plane = torch.stack([x, y, torch.zeros_like(x)], dim=-1).expand(batch, 1, -1, -1, -1)
    bend = smooth_field(plane, 2, 4, generator) + 0.5 * smooth_field(plane, 2, 9, generator)
    shift = torch.randn((batch, 2, 1, 1), generator=generator, device=masks.device) * 0.2
    places = bend[:, :, 0] * uniform((batch, 1, 1, 1), 0.05, 0.6, generator) + shift
    places = plane[:, 0, ..., :2] + size * places.permute(0, 2, 3, 1)
    found = F.grid_sample(masks[:, None].float(), places, align_corners=True)[:, 0] > 0.5
    kind = uniform((batch, 1, 1), 0.0, 1.0, generator)
    centre = _drawn(masks.float(), generator)
    away_x, away_y = (x - x.flatten()[centre][..., None]), (y - y.flatten()[centre][..., None])
    angle = uniform((batch, 1, 1), 0.0, 2 * torch.pi, generator)
    cut = away_x * angle.cos() + away_y * angle.sin() > 0
    radius = size[..., 0] * uniform((batch, 1, 1), 0.3, 1.0, generator)
    beside = torch.hypot(away_x - radius * angle.cos(), away_y - radius * angle.sin()) < radius
    rim = max(1, int(_reach(masks) * float(log_uniform((1,), 0.1, 1.0, generator))))
    larger = F.max_pool2d(found[:, None].float(), 2 * rim + 1, 1, rim)[:, 0] > 0
    smaller = -F.max_pool2d(-found[:, None].float(), 2 * (rim // 2) + 1, 1, rim // 2)[:, 0] > 0
    for limit, other in ((0.75, smaller), (0.65, larger), (0.5, found | beside), (0.3, found & cut)):
        found = torch.where(kind < limit, other, found)
    return found


def _reach(masks: Tensor) -> int:
    """Some pixels: the more, the larger masks are, bool (B, n, n)."""
    return 2 + int(masks.float().mean().sqrt() * masks.shape[-1] / 6)


def _depth(masks: Tensor) -> Tensor:
    """How deep in a mask, bool (B, n, n), each pixel is: float32, 0 outside, DEEPEST at most."""
    left, depth = masks[:, None].float(), torch.zeros_like(masks[:, None], dtype=torch.float32)
    for _ in range(DEEPEST):
        depth += left
        left = -F.max_pool2d(-F.pad(left, (1, 1, 1, 1)), 3, 1)
    return depth[:, 0]


def _drawn(weights: Tensor, generator: Generator) -> Tensor:
    """One pixel each, drawn by weight, (B, n, n): its place in the flat slice, (B, 1)."""
    return torch.multinomial(weights.flatten(1) + 1e-9, 1, generator=generator)


def _added(hints: Hints, places: Tensor, inside: Tensor | bool) -> Hints:
    """With one more point on each slice, at a place in the flat slice, (B, 1)."""
    point = torch.cat([places % SIDE, places // SIDE], dim=1).float() + 0.5
    which = torch.as_tensor(inside, device=places.device).expand(len(places))
    return replace(
        hints,
        points=torch.cat([hints.points, point[:, None]], dim=1),
        inside=torch.cat([hints.inside, which[:, None]], dim=1),
    )


def _begun(box: Tensor, images: Tensor, masks: Tensor, generator: Generator) -> Tensor:
    """What a box may begin with, (B, 4) to bool (B, n, n): see :func:`slmsam2.engine.boxes.in_box`.

    A spoilt mask, or pixels that look like one of the structure's, or the box's ellipse.
    """
    line = torch.arange(masks.shape[-1], device=masks.device) + 0.5
    left, top, right, bottom = box[..., None].unbind(1)
    across = ((2 * line - left - right) / (right - left)).square()[:, None]
    along = ((2 * line - top - bottom) / (bottom - top)).square()[..., None]
    one = images.flatten(1).gather(1, _drawn(masks.float(), generator))[..., None]
    tolerance = log_uniform((len(masks), 1, 1), *TOLERANCE, generator)
    kind = uniform((len(masks), 1, 1), 0.0, 1.0, generator)
    begun = across + along < 1
    begun = torch.where(kind < 0.8, (images - one).abs() < tolerance, begun)
    begun = torch.where(kind < 0.4, spoilt(masks, generator), begun)
    return begun & (across < 1) & (along < 1)


def _boxes(masks: Tensor, generator: Generator) -> Tensor:
    """The box of each mask, a little off, (B, 4)."""
    slip = log_uniform((len(masks), 1), *BOX_SLIP, generator).to(masks.device)
    return first_points("box", masks, generator, slip)["point_coords"].flatten(1)
