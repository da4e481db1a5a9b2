"""What structures look like in image features, learnt from labels in seconds: see :mod:`slmsam2.engine.appearance`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Generator

from slmsam2.engine.appearance import looks_of
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.tracker import mask_logits, square_mask
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.prompts import says_what
from slmsam2.training.labelled import CaseLoader
from slmsam2.training.lessons import Lesson, window_of
from slmsam2.training.views import PLAIN, make_view

MOST_SLICES = 1000  # to be encoded
LEAST_SLICES = 8  # of a lesson; later lessons are left out when there are too many


def uses_looks(network: SLMSAM2) -> bool:
    """Whether its masks are corrected by appearance."""
    return network.inference.appearance


@torch.no_grad()
def learn_looks(
    lessons: Sequence[Lesson],
    network: SLMSAM2,
    load: CaseLoader,
    turn: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, Moments]:
    """What each structure looks like, with its surroundings and what is past its ends, on slices that can be trusted.

    Args:
        lessons: of these, as many as there is time for, and of each structure alike; of none whose name does not say
            what it is.
        network: in eval mode. One that has no use for looks gets none.
        turn: gives a context to use the network in, asked for at each slice.

    Returns:
        Structure -> looks.
    """
    looks: dict[str, Moments] = {}
    if not uses_looks(network):
        return looks
    lessons = [lesson for lesson in lessons if says_what(lesson.structure.name)]
    each = max(LEAST_SLICES, MOST_SLICES // max(len(lessons), 1))
    for lesson in _by_turns(lessons)[: MOST_SLICES // LEAST_SLICES]:
        for one in _of_slices(lesson, network, load, each, turn):
            name = lesson.structure.name
            looks[name] = looks[name] + one if name in looks else one
    return looks


def _by_turns(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The first of each structure, then the second of each, and so on."""
    turns: Counter[str] = Counter()

    def turn(lesson: Lesson) -> int:
        turns[lesson.structure.name] += 1
        return turns[lesson.structure.name]

    return sorted(lessons, key=turn)


def _of_slices(
    lesson: Lesson,
    network: SLMSAM2,
    load: CaseLoader,
    most: int,
    turn: Callable[[], AbstractContextManager[Any]],
) -> list[Moments]:
    """Looks on up to ``most`` slices, seen as inference sees them."""
    loaded = load(lesson.case)
    view = make_view(
        lesson.case,
        lesson.structure,
        loaded,
        window=window_of(lesson, loaded, network),
        image_size=network.image_size,
        margin=network.inference.crop_margin,
        distortion=PLAIN,
        generator=Generator().manual_seed(lesson.seed),
    )
    known = np.flatnonzero(view.known[0])
    chosen = np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))
    features = FeatureCache(network, view, max_bytes=0)
    looks = []
    for index in known[chosen].tolist():
        logits = mask_logits(square_mask(view.labels[0, index], network.image_size))
        with turn():
            looks.append(looks_of(features[index], logits.to(network.device)))
    return looks
