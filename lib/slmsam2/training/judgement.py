"""Whether new weights are better than the ones in use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from slmsam2.training.held_back import Task

LEAST_NOISE = 0.005  # Dice
NOISE_OF_ONE = 0.01  # with a single task there is no telling
LEAST_REPEATS = 2  # tasks beyond one per structure, from which on the noise is taken within structures
PARTS_GAIN = (
    0.05  # least gain on slices of the volumes learnt from, which promise more than other volumes keep
)
TOLERANCE = 0.01  # what a structure seen before may lose when nothing is gained
LARGEST_LOSS = 0.02  # what it may lose at all, beyond noise
VOLUME_NOISE = 0.065  # standard deviation of what a training changes in single volumes (8 unseen subjects)
GENERAL_LOSS = 0.02  # what synthetic volumes may lose in the mean, beyond noise
PRICE = 0.5  # and of what volumes that were held back gain, where that is more


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison on the same tasks.

    Attributes:
        publish: whether the new weights should be used.
        reason: a sentence.
        before, after: mean Dice of the tasks, with the weights in use and the new ones.
        gain, noise: mean difference, and how large a difference says nothing (the standard error within structures).
        structures: name -> (before, after).
        general: Dice of each synthetic volume, with the weights that came with the model and with the new ones.
    """

    publish: bool
    reason: str
    before: float
    after: float
    gain: float
    noise: float
    structures: dict[str, tuple[float, float]]
    general: tuple[Sequence[float], Sequence[float]] = ((), ())


def judge(
    tasks: Sequence[Task],
    before: Sequence[float],
    after: Sequence[float],
    seen_before: Collection[str],
    general: tuple[Sequence[float], Sequence[float]] = ((), ()),
    general_in_use: Sequence[float] = (),
) -> Verdict:
    """Compare the Dice of each task.

    New weights are used if they are better beyond noise, or equal and no structure seen before lost more than
    TOLERANCE. In no case may one lose more than LARGEST_LOSS beyond noise (that of as many volumes as it is judged on),
    or what the network could do in general be lost. Slices of volumes that were learnt from say little about other
    volumes: where there is nothing else, only a gain of PARTS_GAIN is enough.

    Args:
        seen_before: names of structures that the weights in use have learnt.
        general: see :class:`Verdict`.
        general_in_use: Dice of each synthetic volume with the weights in use; empty: the same as with those that came.
    """
    gain, noise = _difference(before, after, [task.structure.name for task in tasks])
    parts = _only_parts(tasks)
    enough = not parts or gain >= max(noise, PARTS_GAIN)
    better = gain > noise
    structures = _by_structure(tasks, before, after)
    forgotten = {
        name: old - new
        for name, (old, new, volumes) in structures.items()
        if name in seen_before and old - new > _tolerance(volumes, better)
    }
    reason = "better" if better else "as good" if gain >= -noise else "worse"
    publish = reason != "worse" and enough and not forgotten
    tail = ""
    if reason != "worse" and not enough:
        tail = " Only slices of the volumes learnt from could be held back: that is not enough."
    elif reason != "worse" and forgotten:
        worst = max(forgotten, key=lambda name: forgotten[name])
        tail = f" But {worst!r} lost {forgotten[worst]:.3f}."
    capable = keeps_ability(*general, general_in_use, 0.0 if parts else gain)
    sentence = (
        f"On what was held back it is {reason}: mean Dice {fmean(after):.3f} after {fmean(before):.3f}."
    )
    sentence += tail
    if not capable:
        first, now = map(fmean, general)
        sentence += (
            f" But in synthetic volumes it lost: {now:.3f}, where the model had {first:.3f} as it came."
        )
    return Verdict(
        publish and capable,
        sentence,
        fmean(before),
        fmean(after),
        gain,
        noise,
        {name: (old, new) for name, (old, new, _) in structures.items()},
        general,
    )


def _tolerance(volumes: int, better: bool) -> float:
    """What a structure judged on so many volumes may lose, when the whole is better or not."""
    return LARGEST_LOSS + VOLUME_NOISE / volumes**0.5 if better else TOLERANCE


def _by_structure(
    tasks: Sequence[Task], before: Sequence[float], after: Sequence[float]
) -> dict[str, tuple[float, float, int]]:
    """Name -> mean Dice of its tasks, before and after, and in how many volumes they are."""
    found = {}
    for name in dict.fromkeys(task.structure.name for task in tasks):
        chosen = [i for i, task in enumerate(tasks) if task.structure.name == name]
        means = fmean(before[i] for i in chosen), fmean(after[i] for i in chosen)
        found[name] = (*means, len({tasks[i].case.image_id for i in chosen}))
    return found


def _only_parts(tasks: Sequence[Task]) -> bool:
    """Whether no volume was held back, but slices of those learnt from only."""
    return all(task.limits is not None for task in tasks)


def keeps_ability(
    at_first: Sequence[float], now: Sequence[float], in_use: Sequence[float] = (), gain: float = 0.0
) -> bool:
    """Whether new weights can still do what the model could in general.

    Either the mean Dice of synthetic volumes has not fallen by GENERAL_LOSS beyond noise since the model came, in
    however many trainings; or it falls, below that of the weights in use, by no more than a part of what is gained on
    volumes that were held back: a team that labels one thing wants the model to be good at that.

    Args:
        at_first, now, in_use: Dice of each synthetic volume; ``in_use`` empty: the same as ``at_first``.
        gain: mean Dice gained on held-back volumes.
    """
    if not at_first:
        return True
    change, noise = _difference(at_first, now)
    recent, recent_noise = _difference(in_use or at_first, now)
    return change >= -GENERAL_LOSS - noise or recent >= -PRICE * gain - recent_noise


def _difference(
    before: Sequence[float], after: Sequence[float], names: Sequence[str] = ()
) -> tuple[float, float]:
    """Mean difference, and its standard error.

    Args:
        names: of each task's structure, if given: what one structure gains more than another is not noise, as far as
            structures with several tasks tell.
    """
    differences = [new - old for old, new in zip(before, after, strict=True)]
    count = len(differences)
    if count == 1:
        return differences[0], NOISE_OF_ONE
    groups: dict[str, list[float]] = {}
    for name, difference in zip(names or [""] * count, differences, strict=True):
        groups.setdefault(name, []).append(difference)
    if count - len(groups) < LEAST_REPEATS:
        groups = {"": differences}
    squares = sum((value - fmean(group)) ** 2 for group in groups.values() for value in group)
    deviation = (squares / (count - len(groups))) ** 0.5
    return fmean(differences), max(LEAST_NOISE, deviation / count**0.5)
