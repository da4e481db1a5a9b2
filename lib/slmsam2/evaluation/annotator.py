"""A simulated annotator: paints one slice, then corrects slice after slice from the reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmsam2.engine import Workspace, propagate_volume
from slmsam2.evaluation.tasks import Task
from slmsam2.masks import areas_along, only_slice
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.volume import Window, choose_window


@dataclass(frozen=True)
class Round:
    """What the annotator has after some corrections.

    Attributes:
        strategy: how the slices to correct were chosen.
        corrections: slices corrected so far, beside the one painted at first.
        axis, slice: the last one given, as stored.
        dice: of the whole volume.
        redone, slices: slices computed in this round, and slices looked at altogether.
        cpu_seconds: of this round.
    """

    volume: str
    structure: str
    strategy: str
    corrections: int
    axis: int
    slice: int
    dice: float
    redone: int
    slices: int
    cpu_seconds: float


@dataclass(frozen=True)
class SliceScore:
    """One slice that was found and not given: what the report says of it, and how good it is."""

    volume: str
    structure: str
    strategy: str
    corrections: int
    slice: int
    confidence: float
    dice: float


@dataclass(frozen=True)
class Proposal:
    """A round's outcome: bool (I, J, K), the whole report, and the structure's part of it."""

    mask: np.ndarray
    report: dict[str, Any]
    facts: dict[str, Any]


Plane = tuple[int, int]
"""Stored axis and slice."""

Choice = Callable[[Task, Proposal, list[Plane], np.random.Generator], Plane | None]


def suggested(
    task: Task, proposal: Proposal, _given: list[Plane], _random: np.random.Generator
) -> Plane | None:
    """The slice that the report suggests."""
    index = proposal.report["suggested_slice"]
    return None if index is None else (task.axis, index)


def suggested_across(
    _task: Task, proposal: Proposal, _given: list[Plane], _random: np.random.Generator
) -> Plane | None:
    """The plane of another axis that the report suggests."""
    plane = proposal.report["suggested_across"]
    return None if plane is None else (plane["axis"], plane["slice"])


def at_random(
    task: Task, proposal: Proposal, given: list[Plane], random: np.random.Generator
) -> Plane | None:
    """Any slice that shows the proposal or the reference."""
    wrong = areas_along(proposal.mask | task.reference, task.axis)
    candidates = [index for index in np.flatnonzero(wrong) if (task.axis, index) not in given]
    return (task.axis, int(random.choice(candidates))) if candidates else None


def truly_worst(
    task: Task, proposal: Proposal, given: list[Plane], _random: np.random.Generator
) -> Plane | None:
    """The slice with the most wrong voxels, as nobody can know."""
    return _worst(task, proposal, given, [task.axis])


def worst_across(
    task: Task, proposal: Proposal, given: list[Plane], _random: np.random.Generator
) -> Plane | None:
    """The same of the slices along both other axes."""
    return _worst(task, proposal, given, [axis for axis in range(3) if axis != task.axis])


def _worst(task: Task, proposal: Proposal, given: list[Plane], axes: list[int]) -> Plane | None:
    """The slice along one of the axes with the most wrong voxels; None where there are none."""
    counts = {axis: areas_along(proposal.mask ^ task.reference, axis) for axis in axes}
    for axis, index in given:
        if axis in counts:
            counts[axis][index] = 0
    axis = max(axes, key=lambda each: counts[each].max())
    return (axis, int(counts[axis].argmax())) if counts[axis].any() else None


STRATEGIES: dict[str, Choice] = {
    "suggested": suggested,
    "suggested-across": suggested_across,
    "random": at_random,
    "worst": truly_worst,
    "across": worst_across,
}


def annotate(
    task: Task,
    model: SLMSAM2,
    strategy: str,
    corrections: int,
    workspace: Workspace,
    seed: int = 0,
    *,
    beside_kin: bool = False,
) -> Iterator[tuple[Round, list[SliceScore]]]:
    """Annotate one structure.

    Args:
        strategy: one of :data:`STRATEGIES`.
        corrections: how many slices are corrected at most.
        workspace: for all that is done on this structure.
        seed: of the random choices.
        beside_kin: see :meth:`Task.label`.
    """
    random = np.random.default_rng(seed)
    given, proposal = [(task.axis, task.slice)], None
    window = choose_window(task.image, task.painted, task.axis)  # as the server keeps it
    for count in range(corrections + 1):
        begin = time.process_time()
        proposal = _propose(task, model, given, window, proposal, workspace, beside_kin)
        seconds = time.process_time() - begin
        yield _round(task, strategy, given, proposal, seconds), _slices(task, strategy, given, proposal)
        chosen = STRATEGIES[strategy](task, proposal, given, random) if count < corrections else None
        if chosen is None:
            return
        given = [*given, chosen]


def _propose(
    task: Task,
    model: SLMSAM2,
    given: list[Plane],
    window: Window,
    before: Proposal | None,
    workspace: Workspace,
    beside_kin: bool,
) -> Proposal:
    painted = np.logical_or.reduce([only_slice(task.reference, *plane) for plane in given])
    slices: dict[int, list[int]] = {}
    for axis, index in given:
        slices.setdefault(axis, []).append(index)
    label, report = propagate_volume(
        task.image,
        task.label(painted, beside_kin=beside_kin),
        model=model,
        axis=task.axis,
        structures=[task.structure],
        label_names=dict(task.values),
        prompt_slices=slices,
        window=[window.level, window.width],
        regions={task.structure: before.facts["region"]} if before else None,  # as the server keeps it
        workspace=workspace,
    )
    found = label == task.values[task.structure]
    return Proposal(found, report, report["structures"][task.structure])


def _round(task: Task, strategy: str, given: list[Plane], proposal: Proposal, seconds: float) -> Round:
    facts = proposal.facts
    return Round(
        volume=task.volume_name,
        structure=task.structure,
        strategy=strategy,
        corrections=len(given) - 1,
        axis=given[-1][0],
        slice=given[-1][1],
        dice=dice(proposal.mask, task.reference),
        redone=len(facts["redone"]),
        slices=facts["found"] + facts["empty"],
        cpu_seconds=seconds,
    )


def _slices(task: Task, strategy: str, given: list[Plane], proposal: Proposal) -> list[SliceScore]:
    found, reference = (np.moveaxis(m, task.axis, 0) for m in (proposal.mask, task.reference))
    return [
        SliceScore(
            task.volume_name,
            task.structure,
            strategy,
            len(given) - 1,
            index,
            confidence,
            dice(found[index], reference[index]),
        )
        for index, confidence in proposal.facts["confidence"].items()
        if (task.axis, index) not in given
    ]
