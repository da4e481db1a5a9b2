"""How far people agree who labelled the same image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from slmsam2.evaluation.scores import hausdorff95
from slmsam2.metrics import dice
from slmsam2.volume import Volume, label_on_grid


@dataclass(frozen=True)
class Labelled:
    """What one person made of an image.

    Attributes:
        person: their name.
        label: on any grid.
        names: structure -> value.
    """

    person: str
    label: Volume
    names: Mapping[str, int]


@dataclass(frozen=True)
class Pair:
    """Two people's masks of one structure.

    Attributes:
        dice: of the whole volume, 0 to 1.
        hd95: 95 % Hausdorff distance in mm.
        millilitres, other_millilitres: the masks' volumes.
    """

    image: str
    structure: str
    person: str
    other: str
    dice: float
    hd95: float
    millilitres: float
    other_millilitres: float


@dataclass(frozen=True)
class Agreement:
    """All pairs of one structure.

    Attributes:
        dice, hd95: means.
        least: the pair that agrees least.
    """

    structure: str
    pairs: int
    dice: float
    hd95: float
    least: Pair


def compared(image: str, people: Sequence[Labelled]) -> list[Pair]:
    """Every two people's masks of each structure that both have; what only one has painted says nothing.

    The second one's label is brought onto the first one's grid.

    Raises:
        GridError: a label lies elsewhere than another.
    """
    return [pair for one, other in combinations(people, 2) for pair in _compared(image, one, other)]


def _compared(image: str, one: Labelled, other: Labelled) -> list[Pair]:
    array, others = one.label.array, label_on_grid(other.label, one.label)
    voxel = float(np.prod(one.label.spacing)) / 1000
    pairs = []
    for structure in one.names.keys() & other.names.keys():
        a, b = array == one.names[structure], others == other.names[structure]
        if a.any() and b.any():
            far = hausdorff95(a, b, one.label.spacing)
            sizes = (voxel * np.count_nonzero(mask) for mask in (a, b))
            pairs.append(Pair(image, structure, one.person, other.person, dice(a, b), far, *sizes))
    return sorted(pairs, key=lambda pair: pair.structure)


def summary(pairs: Sequence[Pair]) -> list[Agreement]:
    """One for each structure, in alphabetical order."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.structure, []).append(pair)
    return [
        Agreement(
            structure,
            len(group),
            float(np.mean([pair.dice for pair in group])),
            float(np.mean([pair.hd95 for pair in group])),
            min(group, key=lambda pair: pair.dice),
        )
        for structure, group in sorted(groups.items())
    ]
