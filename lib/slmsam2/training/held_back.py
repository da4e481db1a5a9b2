"""What is kept from training, to judge new weights by: whole volumes, or slices where there are too few volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from slmsam2.engine.volume import propagate_volume
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.training.labelled import Case, CaseLoader, Structure
from slmsam2.training.lessons import Lesson, stable_number
from slmsam2.volume import SliceView

LEAST_VOLUMES = 3  # from which on whole volumes are held back
SHARE = 0.2  # of the volumes
SLICE_SHARE = 0.25  # of a structure's slices, where no volume can be held back
LEAST_SLICES = 4  # of a structure, to hold some back


@dataclass(frozen=True)
class Task:
    """One propagation from one painted slice.

    Attributes:
        case, structure: what is propagated; ``structure`` is as labelled.
        painted: slice of the stack.
        counted: bool (S,), slices that are compared.
        limits: first and last slice (of the stack) to propagate to, or None for all.
    """

    case: Case
    structure: Structure
    painted: int
    counted: np.ndarray
    limits: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The structure's."""
        return self.structure.name


def assign(cases: Sequence[Case], decided: dict[str, bool], seen: dict[str, str]) -> dict[str, bool]:
    """Which volumes are held back: image id -> bool.

    A volume's part, once decided, stays, also while its label is missing; one that was trained on never becomes one to
    judge by. From LEAST_VOLUMES on a share of SHARE is held back, at least one, chosen by the image's identity; and of
    a structure that is labelled in as many volumes one at least, if another one is left to learn from.

    Args:
        decided: earlier decisions.
        seen: image ids that versions in use have learnt from.
    """
    here = {case.image_id for case in cases}
    parts = dict.fromkeys(seen, False) | decided
    if len(here) < LEAST_VOLUMES:
        return parts  # too early to decide
    free = sorted(here - parts.keys(), key=stable_number)
    wanted = max(1, round(SHARE * len(here)))
    chosen = set(free[: max(wanted - sum(parts[image_id] for image_id in here & parts.keys()), 0)])
    for name in sorted({name for case in cases for name in case.structures}):
        labelled = {case.image_id for case in cases if name in case.structures}
        judged = chosen | {image_id for image_id, held in parts.items() if held}
        candidates = [image_id for image_id in free if image_id in labelled]
        if len(labelled) >= LEAST_VOLUMES and not labelled & judged and len(candidates) > 1:
            chosen.add(candidates[0])
    return parts | {image_id: image_id in chosen for image_id in here - parts.keys()}


def lessons_and_tasks(
    cases: Sequence[Case], held_back: dict[str, bool], seen: dict[str, str], most_tasks: int
) -> tuple[list[Lesson], list[Task]]:
    """What to train on and what to judge by.

    Held-back volumes are propagated from the largest slice of each structure, and, if there is room for more tasks,
    from others. A structure that is on no held-back volume is judged on a part of one volume: slices on one side of
    its middle, which are then not trained on.
    """
    judged = [case for case in cases if held_back.get(case.image_id)]
    covered = {name for case in judged for name in case.structures}
    whole = [(case, one) for case in judged for one in case.structures.values() if one.drawn.size]
    tasks = [_volume_task(case, one, _largest(one)) for case, one in whole]
    further = [_volume_task(case, one, painted) for case, one in whole for painted in _quarters(one)]
    lessons = []
    for case in sorted(
        (c for c in cases if not held_back.get(c.image_id)), key=lambda c: stable_number(c.image_id)
    ):
        fresh = seen.get(case.image_id) != case.digest
        for name, structure in case.structures.items():
            if not structure.drawn.size:
                continue  # said to be elsewhere only: nothing to start from
            if name not in covered and len(structure.drawn) >= LEAST_SLICES:
                structure, parts = _split(case, structure)
                tasks += parts
                covered.add(name)
            lessons.append(Lesson(case, structure, fresh))
    tasks = _spread([task for task in tasks if task.counted.any()], most_tasks)
    further = [task for task in further if task.counted.any()]
    return lessons, tasks + _spread(further, most_tasks - len(tasks))


def _volume_task(case: Case, structure: Structure, painted: int) -> Task:
    counted = structure.known.copy()
    counted[painted] = False
    return Task(case, structure, painted, counted)


def _largest(structure: Structure) -> int:
    """The slice with the largest area, of those that can be trusted."""
    return int(structure.drawn[structure.areas[structure.drawn].argmax()])


def _quarters(structure: Structure) -> list[int]:
    """The slices at a quarter and at three quarters of the extent, where they are not the largest one.

    A single propagation in a single volume says little; from other slices it goes other ways.
    """
    there = structure.drawn
    found = {int(there[len(there) // 4]), int(there[3 * len(there) // 4])}
    return sorted(found - {_largest(structure)})


def _split(case: Case, structure: Structure) -> tuple[Structure, list[Task]]:
    """Hold back a quarter of a structure's slices, on one side of its middle; they are reached from either direction.

    The ends stay to be learnt: they are what a structure has only two of. The painted slices lie as far away as the
    held-back ones reach, towards the near end half as far: close by, any weights do well.
    """
    there = structure.drawn
    if stable_number(case.image_id, structure.name) % 2:
        there = there[::-1]
    count = max(1, round(SLICE_SHARE * len(there)))
    first, last = sorted((there[len(there) // 2], there[len(there) // 2 + count - 1]))
    held = np.zeros(len(structure.areas), bool)
    held[first : last + 1] = True
    tasks = []
    for painted in (int(there[len(there) // 4]), int(there[-1 - len(there) // 8])):
        limits = (min(painted, int(first)), max(painted, int(last)))
        tasks.append(Task(case, structure, painted, structure.known & held, limits))
    return replace(structure, known=structure.known & ~held), tasks


def _spread(tasks: Sequence[Task], most: int) -> list[Task]:
    """At most so many tasks, of as many structures as possible; the same ones every time."""
    ranks: dict[str, int] = {}
    keyed: list[tuple[int, int, Task]] = []
    for task in sorted(tasks, key=lambda t: stable_number(t.case.image_id, t.structure.name)):
        name = task.structure.name
        ranks[name] = ranks.get(name, -1) + 1
        keyed.append((ranks[name], len(keyed), task))
    return [task for *_, task in sorted(keyed, key=lambda entry: entry[:2])[:most]]


def propagation_dice(task: Task, network: SLMSAM2, load: CaseLoader) -> float:
    """Dice of a propagation, as users get it, on the slices that count (the painted one does not)."""
    image, label = load(task.case)
    view = SliceView(image.shape, image.affine, task.structure.axis)
    reference = view.to_stack(label) == task.structure.value
    painted = np.zeros(label.shape, np.uint8)
    view.to_stack(painted)[task.painted] = reference[task.painted]
    first, last = sorted(view.stored_index(s) for s in task.limits or (0, len(reference) - 1))
    array, _ = propagate_volume(
        image,
        painted,
        model=network,
        axis=task.structure.axis,
        label_names={task.structure.name: 1},
        first_slice=first,
        last_slice=last,
    )
    found = view.to_stack(array)[task.counted] > 0
    return dice(found, reference[task.counted])
