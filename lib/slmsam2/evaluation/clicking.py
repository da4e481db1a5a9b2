"""A simulated annotator who clicks on one slice, again and again where the mask is most wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from slmsam2.engine.job import Job, solve
from slmsam2.engine.settings import Settings
from slmsam2.evaluation.tasks import Task
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.prompts import Marks
from slmsam2.prompts.marks import Box
from slmsam2.volume import choose_window

BEGINNINGS = ("click", "box", "mask")
AWAY = 3  # slices between the one that is asked for and the one whose mask is to be corrected


@dataclass(frozen=True)
class Clicked:
    """What the annotator has after some clicks.

    Attributes:
        prompt: which slice of the structure, see :class:`Task`.
        beginning: one of :data:`BEGINNINGS`.
        clicks: how many so far.
        dice: of the slice.
        cpu_seconds: of the last request; 0 where there was none.
    """

    volume: str
    structure: str
    prompt: str
    beginning: str
    clicks: int
    dice: float
    cpu_seconds: float


def click_on(
    task: Task, model: SLMSAM2, beginning: str, clicks: int, slip: float = 0.0, seed: int = 0
) -> Iterator[Clicked]:
    """Draw the slice of a task by clicks.

    Args:
        beginning: "click": nothing but clicks; "box": a box comes first; "mask": the reference of a slice nearby is
            there and is corrected (nothing is yielded where there is no such slice, or not the structure on it).
        clicks: so many, each in the middle of the largest error, or of the structure where nothing is wrong.
        slip: how far a box is off at most, of its sides.
        seed: of that.
    """
    reference = task.view.to_stack(task.reference)
    index = task.view.stack_index(task.slice)
    wanted = reference[index]
    box = _box(wanted, slip, np.random.default_rng(seed)) if beginning == "box" else None
    mask, found = None, np.zeros_like(wanted)
    if beginning == "mask":
        nearby = index + AWAY if index + AWAY < len(reference) else index - AWAY
        if nearby < 0 or not reference[nearby].any():
            return
        mask = found = reference[nearby]
        yield _clicked(task, beginning, 0, found, wanted, 0.0)
    marks = Marks(np.zeros_like(wanted), np.zeros_like(wanted), box, mask)
    for count in range(clicks + 1):
        if count:
            pixel = _middle(found ^ wanted if (found ^ wanted).any() else wanted)
            (marks.inside if wanted[pixel] else marks.outside)[pixel] = True
            if wanted[pixel] and marks.first is None:
                marks = replace(marks, first=pixel)
        elif box is None:
            continue
        begin = time.process_time()
        found = _drawn(task, model, index, marks)
        yield _clicked(task, beginning, count, found, wanted, time.process_time() - begin)


def _drawn(task: Task, model: SLMSAM2, index: int, marks: Marks) -> np.ndarray:
    """What the model makes of marks on one slice, bool (H, W), as the server asks it: nothing is kept in between."""
    view, said = task.view, np.zeros(task.reference.shape, bool)
    view.to_stack(said)[index] = marks.extent
    job = Job(
        view=view,
        given=np.zeros_like(view.to_stack(task.reference), dtype=np.uint8),
        prompts={1: {index: marks}},
        window=choose_window(task.image, said, task.axis),
        settings=Settings(up=False, down=False, first=index, last=index),
    )
    result, _ = solve(model, task.image, job, {task.structure: 1})
    return np.asarray(view.to_stack(result)[index] > 0)


def _clicked(
    task: Task, beginning: str, clicks: int, found: np.ndarray, wanted: np.ndarray, seconds: float
) -> Clicked:
    return Clicked(
        task.volume_name, task.structure, task.prompt, beginning, clicks, dice(found, wanted), seconds
    )


def _box(mask: np.ndarray, slip: float, random: np.random.Generator) -> Box:
    """Around a mask, bool (H, W); each edge off by up to ``slip`` of the box's side."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    corners = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    sides = np.tile(corners[2:] - corners[:2], 2)
    left, top, right, bottom = corners + slip * sides * random.uniform(-1, 1, 4)
    return float(left), float(top), float(right), float(bottom)


def _middle(wrong: np.ndarray) -> tuple[int, int]:
    """The pixel farthest from the outline of the largest part of a mask, bool (H, W)."""
    parts, _ = ndimage.label(wrong)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    depth = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row), int(column)
