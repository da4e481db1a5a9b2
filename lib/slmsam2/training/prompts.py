"""Prompts as an annotator would give them, drawn from reference masks: a painted slice, a click, a box, corrections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from slmsam2.prompts import BOX_CORNERS, NEGATIVE, POSITIVE
from slmsam2.synthesis.noise import uniform

Kind = Literal["mask", "point", "box"]
Points = dict[str, Tensor]
BOX_JITTER = 0.1  # of the box's sides, either way


@dataclass(frozen=True)
class PromptSettings:
    """How often what is given, as probabilities per step; the rest of the steps start from a painted mask.

    Attributes:
        point: a click on slice 0.
        box: a box on slice 0.
        clicks: up to so many correction clicks follow a point or a box.
        least_clicks: and at least so many.
        from_reference: of these clicks, the share that is put anywhere on the structure, wherever the errors are.
        later_click: a correction click on one of the slices that follow.
    """

    point: float = 0.0
    box: float = 0.0
    clicks: int = 0
    later_click: float = 0.0
    least_clicks: int = 0
    from_reference: float = 0.0


@dataclass(frozen=True)
class PromptPlan:
    """What is given in one step: the kind on slice 0, how many correction clicks on which slices.

    ``from_reference``: see :class:`PromptSettings`.
    """

    kind: Kind = "mask"
    clicks: dict[int, int] = field(default_factory=dict)
    from_reference: float = 0.0


def draw_plan(settings: PromptSettings, slices: int, generator: Generator) -> PromptPlan:
    """Choose what is given for a clip of ``slices`` slices."""
    first, later = uniform((2,), 0.0, 1.0, generator).tolist()
    if first >= settings.point + settings.box:
        kind, clicks = "mask", {}
    else:
        kind = "point" if first < settings.point else "box"
        more = _integer(settings.clicks - settings.least_clicks + 1, generator)
        clicks = {0: settings.least_clicks + more}
    if later < settings.later_click:
        clicks[1 + _integer(slices - 1, generator)] = 1
    return PromptPlan(kind, clicks, settings.from_reference)  # type: ignore[arg-type]


def first_points(
    kind: Kind, masks: Tensor, generator: Generator, jitter: float | Tensor = BOX_JITTER
) -> Points:
    """A click inside each mask, or its box a little off, as SAM's points.

    Args:
        kind: "point" or "box".
        masks: bool (N, H, W), none of them empty.
        jitter: how far a box is off at most, of its sides, for each slice, (N, 1), or for all.

    Returns:
        ``point_coords`` float32 (N, P, 2), x and y in pixels, and ``point_labels`` int32 (N, P).
    """
    if kind == "point":
        return _pixels(masks.float(), torch.full_like(masks, POSITIVE, dtype=torch.int32), generator)
    low_x, high_x = _extent(masks.any(dim=1))
    low_y, high_y = _extent(masks.any(dim=2))
    corners = torch.stack([low_x, low_y, high_x, high_y], dim=1)
    sides = torch.stack([high_x - low_x, high_y - low_y], dim=1).repeat(1, 2)
    off = uniform(tuple(corners.shape), -1.0, 1.0, generator).to(masks.device)
    corners = corners + jitter * sides * off
    labels = torch.tensor(BOX_CORNERS, dtype=torch.int32, device=masks.device).expand(len(masks), -1)
    return {"point_coords": corners.view(-1, 2, 2), "point_labels": labels}


def with_correction(points: Points | None, found: Tensor, masks: Tensor, generator: Generator) -> Points:
    """Add a click where ``found`` is wrong, anywhere where nothing is.

    Args:
        points: clicks so far.
        found: bool (N, H, W).
        masks: bool (N, H, W), how it should be.
    """
    wrong = (found ^ masks).float() + 1e-6
    click = _pixels(wrong, torch.where(masks, POSITIVE, NEGATIVE).int(), generator)
    if points is None:
        return click
    return {key: torch.cat([points[key], click[key]], dim=1) for key in click}


def _pixels(weights: Tensor, labels: Tensor, generator: Generator) -> Points:
    """One pixel each, drawn by weight, (N, H, W), with the label found there; the generator may be on the CPU."""
    flat = weights.flatten(1).to(generator.device)
    chosen = torch.multinomial(flat, 1, generator=generator).to(weights.device)
    width = weights.shape[-1]
    coords = torch.cat([chosen % width, chosen // width], dim=1).float() + 0.5
    return {"point_coords": coords[:, None], "point_labels": labels.flatten(1).gather(1, chosen)}


def _extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """First, and one past the last, true place of each row of (N, L), float32 (N,)."""
    length = line.shape[1]
    places = torch.arange(length, device=line.device)
    low = torch.where(line, places, length).amin(dim=1)
    high = torch.where(line, places + 1, 0).amax(dim=1)
    return low.float(), high.float()


def _integer(below: int, generator: Generator) -> int:
    return int(torch.randint(0, below, (1,), generator=generator, device=generator.device))
