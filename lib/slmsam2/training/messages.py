"""What people are told of a training: at its beginning, at its end, and when it could not come to one."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence

import torch

from slmsam2.training.held_back import Task
from slmsam2.training.judgement import Verdict
from slmsam2.training.labelled import Case
from slmsam2.training.lessons import Lesson

FULL = {errno.ENOSPC, errno.EDQUOT}
STAYS = "The weights in use stay."


def nothing_to_do(
    cases: Sequence[Case], fresh: Sequence[Lesson], tasks: Sequence[Task], unusable: Mapping[str, str]
) -> str | None:
    """Why there is no training; None when there is something to do.

    Args:
        unusable: image id -> sentence, for labels that cannot be used.
    """
    if not cases and unusable:
        return f"None of the submitted labels can be learnt from.{left_out(unusable)}"
    if not cases:
        return (
            "There is no submitted label to learn from. Submit one, then train. Flagged labels do not count, nor, with "
            "only_approved, those that nobody has approved."
        )
    if not fresh:
        told = f"Nothing new: all {len(cases)} submitted labels were learnt from, or are kept to judge by."
        return told + left_out(unusable)
    if not tasks:
        return (
            "There are too few labelled slices to judge a new model by: a structure needs four or more. "
            "Label more slices, or another volume."
        )
    return None


def opening(preset: str, steps: int, lessons: Sequence[Lesson], tasks: int) -> str:
    """What is said at the beginning.

    Args:
        tasks: to judge by.
    """
    names = sorted({lesson.structure.name for lesson in lessons if lesson.fresh})
    volumes = _counted(len({lesson.case.image_id for lesson in lessons}), "volume")
    return (
        f"Learning {', '.join(names)} from {volumes} ({preset}, {steps} steps); "
        f"{_counted(tasks, 'propagation')} to judge by."
    )


def closing(version: str, verdict: Verdict, steps: int, planned: int, unusable: Mapping[str, str]) -> str:
    """What is said at the end.

    Args:
        steps: that were done.
        planned: as many were.
        unusable: image id -> sentence, for labels that could not be used.
    """
    outcome = f"Version {version} is in use." if verdict.publish else STAYS
    short = f" There was time for {steps} of {planned} steps: give the next training more minutes."
    return f"{verdict.reason} {outcome}{short if 2 * steps < planned else ''}{left_out(unusable)}"


def left_out(unusable: Mapping[str, str]) -> str:
    """How many labels could not be used, and why the first of them; "" for none."""
    if not unusable:
        return ""
    image_id, reason = next(iter(unusable.items()))
    were = "label was" if len(unusable) == 1 else "labels were"
    return f" {len(unusable)} {were} left out; that of {image_id}: {reason}"


def broken_off(error: OSError | RuntimeError | MemoryError) -> str:
    """Why a training came to no end, and what to do."""
    again = f"{STAYS} The next training goes on where this one was."
    if isinstance(error, OSError) and error.errno in FULL:
        return f"The training ended, as the disk is full. {again} Free some space first."
    if isinstance(error, OSError):
        return (
            f"The training ended, as a file could not be read or written: {error}. {again} See to this first."
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return (
            f"The training ended, as the memory does not suffice. {again} End what else takes memory of the device "
            "first, or train with the preset 'fast', which takes least."
        )
    return f"The training ended by an error: {error}. {again} If that fails again, report it with the server's log."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
