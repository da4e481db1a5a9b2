"""What the user changed in a proposal, and what was given before: together, the prompts of the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from slmsam2.modeling import Moments
from slmsam2.planes import box_of, crossing_planes, sketched_planes
from slmsam2.prompts.marks import Marks, Prompt, is_empty
from slmsam2.prompts.planes import Across, Given, Planes, masks_across

if TYPE_CHECKING:  # pre-training, which needs prompts, must do without what reads volumes
    from slmsam2.volume import Exemplar

UNCHANGED = (
    0.5  # a label is an edited proposal when more than this share of it, or of its slices, is as it was
)


@dataclass(frozen=True, eq=False)
class Known:
    """What is remembered of one structure; slices are numbered as in the stack.

    Attributes:
        axis: stored axis of the slices.
        given: bool (S, H, W), the structure as it came with the last request.
        returned: bool (S, H, W), the structure as it was sent back.
        prompts: {slice: prompt} that led to it.
        across: masks in other planes that did, too.
        region: (top, bottom, left, right) that was looked at.
        window: (level, width) of the intensities that were shown.
        version: of the network; "" where it is not known.
        looks: of the structure in other volumes, in features of that version.
        exemplars: the structure in other volumes.
        plain: whether it was propagated to all slices, and not post-processed.
        restored: whether it was read from disk, without looks and exemplars.
    """

    axis: int
    given: np.ndarray
    returned: np.ndarray
    prompts: dict[int, Prompt] = field(default_factory=dict)
    region: tuple[int, int, int, int] | None = None
    window: tuple[float, float] | None = None
    version: str = ""
    looks: Moments | None = None
    exemplars: tuple[Exemplar, ...] = ()
    plain: bool = False
    restored: bool = False
    across: Across = field(default_factory=dict)


def corrected_planes(
    came: np.ndarray, covered: np.ndarray, returned: np.ndarray
) -> dict[int, list[int]] | None:
    """The slices of a proposal that the user changed; or rows and columns, where it was changed in other planes.

    Args:
        came: bool (S, H, W), the structure as it comes now.
        covered: bool (S, H, W), where anything is painted; what lies over the structure hides it there.
        returned: bool (S, H, W), the proposal as it was sent.

    Returns:
        Dimension -> ascending indices; None when most of it differs: then it is no edited proposal but a new beginning.
    """
    either = came | returned
    box = box_of(either)
    came, covered, returned, either = (each[box] for each in (came, covered, returned, either))
    seen = came | ~covered
    differs, proposed = (came ^ returned) & seen, returned & seen
    planes = crossing_planes(differs, structure=either) if _is_mostly(proposed, differs) else None
    if planes is None:
        changed = differs.any(axis=(1, 2))
        if not _is_mostly(proposed.any(axis=(1, 2)), changed):
            return None
        planes = {0: np.flatnonzero(changed).tolist()}
    return {along: [box[along].start + index for index in found] for along, found in planes.items()}


def _is_mostly(proposed: np.ndarray, differs: np.ndarray) -> bool:
    """Whether more than UNCHANGED of what was proposed is as it was."""
    return bool((proposed & ~differs).sum() > UNCHANGED * proposed.sum())


def chosen_in(came: np.ndarray, chosen: Planes) -> Given:
    """What a label, bool (S, H, W), gives of a structure on the planes that were named, and nothing else."""
    slices: dict[int, Prompt] = {index: came[index] for index in sorted(set(chosen.get(0, ())))}
    return Given(slices, masks_across(came, chosen))


def corrected_in(came: np.ndarray, covered: np.ndarray, known: Known, corrected: Planes) -> Given:
    """What an edited proposal gives: what was corrected joins what was given before.

    If that leaves only empty slices, all that is there counts.

    Args:
        came, covered: see :func:`corrected_planes`.
        known: what is remembered of the structure.
        corrected: which planes were.
    """
    changed: dict[int, Prompt] = {
        index: came[index] | (known.returned[index] & covered[index]) for index in corrected.get(0, ())
    }
    slices = {
        index: _corrected(prompt, came[index], covered[index]) for index, prompt in known.prompts.items()
    }
    slices |= changed
    if all(map(is_empty, slices.values())):
        return Given({**_slices_of(came), **changed})
    across = {
        along: {index: _on_plane(along, index, came, covered, known) for index in sorted(lines)}
        for along in (1, 2)
        if (lines := {*known.across.get(along, ()), *corrected.get(along, ())})
    }
    return Given(slices, across)


def _on_plane(along: int, index: int, came: np.ndarray, covered: np.ndarray, known: Known) -> np.ndarray:
    """A structure on a row (1) or column (2); where something lies over it, as it was, however long."""
    mask, lies_over, was_there = (each.take(index, along) for each in (came, covered, known.returned))
    before = known.across.get(along, {}).get(index, was_there)
    on_plane: np.ndarray = mask | (lies_over & (was_there | before))
    return on_plane


def _corrected(prompt: Prompt, came: np.ndarray, covered: np.ndarray) -> Prompt:
    """What was painted on a slice, as it is there now; where something lies over it, as it was."""
    return prompt if isinstance(prompt, Marks) else np.where(covered & ~came, prompt, came)


def painted_in(came: np.ndarray) -> Given:
    """All that is painted of a structure, bool (S, H, W), by the planes that it was painted in."""
    planes = sketched_planes(came)
    if planes is None or 0 not in planes:
        return Given(_slices_of(came))
    return Given({index: came[index] for index in planes[0]}, masks_across(came, planes))


def painted_of(known: Known) -> np.ndarray:
    """Bool (S, H, W): what was sent back of a structure on the slices, and in the other planes, that were painted."""
    painted = np.zeros_like(known.returned)
    planes = {0: without_marks(known.prompts), **known.across}
    for dimension, index in ((dimension, index) for dimension, masks in planes.items() for index in masks):
        plane = (slice(None),) * dimension + (index,)
        painted[plane] = known.returned[plane]
    return painted


def _slices_of(came: np.ndarray) -> dict[int, Prompt]:
    return {int(index): came[index] for index in np.flatnonzero(came.any(axis=(1, 2)))}


def with_marks(prompts: Mapping[int, Prompt], marks: Mapping[int, Marks]) -> dict[int, Prompt]:
    """Prompts with marks added; on a slice that has a mask they correct it, in place of earlier marks there."""
    joined = dict(prompts)
    for index, new in marks.items():
        earlier = joined.pop(index, None)
        base = earlier.base if isinstance(earlier, Marks) else earlier
        joined[index] = new.with_base(base if base is not None and base.any() else None)
    return joined


def marked_across(across: Across, marks: Mapping[int, Marks]) -> Across:
    """What was given in other planes, with what was marked on the lines where slices cross them."""
    return {
        along: {
            line: np.array([_marked(row, line, along, marks.get(index)) for index, row in enumerate(mask)])
            for line, mask in planes.items()
        }
        for along, planes in across.items()
    }


def _marked(row: np.ndarray, line: int, along: int, marks: Marks | None) -> np.ndarray:
    """A row (1) or column (2) of a slice, bool, as it was given and marked."""
    if marks is None:
        return row
    inside, outside = (each.take(line, along - 1) for each in (marks.inside, marks.outside))
    marked: np.ndarray = (row | inside) & ~outside
    return marked


def without_marks(prompts: Mapping[int, Prompt]) -> dict[int, Prompt]:
    """The painted masks among prompts, those under marks too."""
    bases = {s: prompt.base if isinstance(prompt, Marks) else prompt for s, prompt in prompts.items()}
    return {index: mask for index, mask in bases.items() if mask is not None}
