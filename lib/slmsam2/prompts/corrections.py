"""What the user changed in a proposal, and what was given before: together, the prompts of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from slmsam2.modeling import Moments
from slmsam2.prompts.marks import Marks, Prompt, is_empty

if TYPE_CHECKING:  # pre-training, which needs prompts, must do without what reads volumes
    from slmsam2.volume import Exemplar

UNCHANGED = (
    0.5  # a label is an edited proposal when more than this share of the proposal's slices is as it was
)


@dataclass(frozen=True, eq=False)
class Known:
    """What is remembered of one structure; slices are numbered as in the stack.

    Attributes:
        axis: stored axis of the slices.
        given: bool (S, H, W), the structure as it came with the last request.
        returned: bool (S, H, W), the structure as it was sent back.
        prompts: {slice: prompt} that led to it.
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


def corrected_slices(came: np.ndarray, covered: np.ndarray, returned: np.ndarray) -> list[int] | None:
    """The slices of a proposal that the user changed.

    Args:
        came: bool (S, H, W), the structure as it comes now.
        covered: bool (S, H, W), where anything is painted; what lies over the structure hides it there.
        returned: bool (S, H, W), the proposal as it was sent.

    Returns:
        Ascending slice numbers; None when most slices differ: then it is no edited proposal but a new beginning.
    """
    there = np.flatnonzero(came.any(axis=(1, 2)) | returned.any(axis=(1, 2)))
    came, returned = came[there], returned[there]
    seen = came | ~covered[there]
    differs = ((came ^ returned) & seen).any(axis=(1, 2))
    proposed = (returned & seen).any(axis=(1, 2))
    if (proposed & ~differs).sum() <= UNCHANGED * proposed.sum():
        return None
    return there[differs].tolist()


def painted_prompts(
    came: np.ndarray, covered: np.ndarray, known: Known | None, chosen: Sequence[int] | None
) -> dict[int, Prompt]:
    """The prompts that a label holds for one structure.

    Slices that were ``chosen`` are taken as they are, and nothing else. Of an edited proposal, the corrected slices
    join the earlier prompts; if that leaves only empty ones, and in any other label, every painted slice counts.

    Args:
        came, covered: see :func:`corrected_slices`.
        known: what is remembered of the structure.
    """
    if chosen is not None:
        return {index: came[index] for index in sorted(set(chosen))}
    corrected = None
    if known is not None and known.returned.shape == came.shape:
        corrected = corrected_slices(came, covered, known.returned)
    painted: dict[int, Prompt] = {int(index): came[index] for index in np.flatnonzero(came.any(axis=(1, 2)))}
    if known is None or corrected is None:
        return painted
    changed = {index: came[index] | (known.returned[index] & covered[index]) for index in corrected}
    prompts = {**known.prompts, **changed}
    return {**painted, **changed} if all(map(is_empty, prompts.values())) else prompts


def with_marks(prompts: Mapping[int, Prompt], marks: Mapping[int, Marks]) -> dict[int, Prompt]:
    """Prompts with marks added; on a slice that has a mask they correct it, in place of earlier marks there."""
    joined = dict(prompts)
    for index, new in marks.items():
        earlier = joined.pop(index, None)
        base = earlier.base if isinstance(earlier, Marks) else earlier
        joined[index] = new.with_base(base if base is not None and base.any() else None)
    return joined


def without_marks(prompts: Mapping[int, Prompt]) -> dict[int, Prompt]:
    """The painted masks among prompts, those under marks too."""
    bases = {s: prompt.base if isinstance(prompt, Marks) else prompt for s, prompt in prompts.items()}
    return {index: mask for index, mask in bases.items() if mask is not None}
