"""From mask logits to a label volume in which everything the user painted stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from slmsam2.engine.crossing import beyond_ends, lines_on
from slmsam2.engine.propagation import Prompts
from slmsam2.engine.settings import Settings
from slmsam2.engine.structures import Found
from slmsam2.errors import VolumeError
from slmsam2.prompts import Across, Marks, Prompt
from slmsam2.prompts.marks import Box

HARDLY = 1e-3  # logit


def write_labels(
    found: Sequence[Found],
    prompts: Prompts,
    given: np.ndarray,
    result: np.ndarray,
    settings: Settings,
    before: Mapping[int, Mapping[int, np.ndarray]],
    within: Mapping[int, Box],
    across: Mapping[int, Across],
) -> None:
    """Decide each voxel's structure and write it into ``result``.

    The structure with the highest logit wins where it is positive. A painted slice is taken as it is for its
    structure, a marked pixel as marked; voxels painted for another structure, propagated or not, are never
    overwritten. Slices that the propagation was told not to go to stay as they came.

    Args:
        found: propagations whose objects are label values.
        prompts: {value: {slice: bool (H, W), or marks}}, as propagated.
        given: integers (S, H, W), the label that came with the request.
        result: (S, H, W) of ``given``'s dtype, all 0; what is found is written into it.
        settings: how it was propagated.
        before: value -> {slice: bool (H, W)}, as the structure was sent back; it stays so where nothing new was
            computed.
        within: value -> box outside of which only what was painted or marked is written.
        across: value -> what was painted in other planes; it is taken as it is where no slice is painted. A structure
            ends on one without it.

    Raises:
        VolumeError: ``result`` cannot hold the value of a structure.
    """
    largest = max(prompts, default=0)
    if largest > np.iinfo(result.dtype).max:
        raise VolumeError(
            f"A label of type {result.dtype} cannot hold the value {largest}: give it in a larger one."
        )
    beyond = {value: beyond_ends(planes, prompts[value], given.shape) for value, planes in across.items()}
    untouched = {value: settings.untouched(masks, len(given)) for value, masks in prompts.items()}
    for index in range(len(given)):
        here = {value: masks[index] for value, masks in prompts.items() if index in masks}
        lines = {
            value: lines_on(index, planes, given.shape)
            for value, planes in across.items()
            if not isinstance(here.get(value), np.ndarray)
        }
        redone = [value for value in prompts if index not in untouched[value]]
        _write_given(result[index], given[index], here, lines, redone)
        free = result[index] == 0
        best = np.zeros(given.shape[1:], np.float32)  # a structure needs a positive logit
        for value, logits, is_new in _logits_on(found, index):
            if isinstance(here.get(value), np.ndarray):
                continue
            if index in before.get(value, {}) and not is_new:
                _keep_mask(logits, before[value][index])
            if value in within:
                _keep_within(logits, within[value])
            _keep_marks(logits, here.get(value))
            if value in lines:
                logits[lines[value][0] | beyond[value]] = -np.inf
            wins = free & (logits > best)
            result[index][wins] = value
            best[wins] = logits[wins]


def _write_given(
    result: np.ndarray,
    given: np.ndarray,
    prompts: Mapping[int, Prompt],
    lines: Mapping[int, tuple[np.ndarray, np.ndarray]],
    redone: Collection[int],
) -> None:
    """Write what came with the request, and what was painted, into one slice.

    Args:
        result, given: integers (H, W); the first is all 0.
        prompts: value -> what was given on this slice.
        lines: value -> the rows and columns that were given in other planes, and where the structure is on them.
        redone: values of the structures that may change here.
    """
    if given.any():
        result[:] = np.where(np.isin(given, list(redone)), 0, given)
    for value, prompt in prompts.items():
        if isinstance(prompt, np.ndarray):
            result[prompt & _left(result, given, value)] = value
    for value, (_, inside) in lines.items():
        if value in redone:
            result[inside & _left(result, given, value)] = value


def _logits_on(found: Sequence[Found], index: int) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Value, mask logits (H, W) and whether these were computed now, of the structures that came to a slice."""
    for part in found:
        if visited := part.visited(index):
            for value, logits in part.slice_logits(index).items():
                if value in visited:
                    yield value, logits, index in part.propagation.redone[value]


def _left(result: np.ndarray, given: np.ndarray, value: int) -> np.ndarray:
    """Bool (H, W): where what was painted of a structure is written: not where another was painted over it since."""
    return (result == 0) & ((given == 0) | (given == value))


def _keep_mask(logits: np.ndarray, mask: np.ndarray) -> None:
    """Make mask logits (H, W) say what a mask, bool (H, W), says, as surely as they do or hardly."""
    np.copyto(logits, np.where(mask, np.maximum(logits, HARDLY), np.minimum(logits, 0)))


def _keep_within(logits: np.ndarray, box: Box) -> None:
    """Leave nothing of mask logits (H, W) outside a box, whose edges lie between pixels."""
    left, top, right, bottom = (round(edge) for edge in box)
    inside = logits[top:bottom, left:right].copy()
    logits[:] = -np.inf
    logits[top:bottom, left:right] = inside


def _keep_marks(logits: np.ndarray, prompt: Prompt | None) -> None:
    """Make mask logits (H, W) say what was marked."""
    if isinstance(prompt, Marks):
        logits[prompt.inside] = np.inf
        logits[prompt.outside] = -np.inf
