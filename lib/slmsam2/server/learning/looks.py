"""What structures look like in the labels submitted so far, for the next image: long before a training."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from slmsam2.errors import CheckpointError
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.modeling.build import learnt_folder
from slmsam2.modeling.checkpoint import read_looks, write_looks
from slmsam2.prompts import says_what
from slmsam2.server.learning.shelf import Shelf
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.models import ModelStore
from slmsam2.training.labelled import Case, CaseLoader
from slmsam2.training.lessons import Lesson
from slmsam2.training.looks import learn_looks, uses_looks

logger = logging.getLogger(__name__)

MOST_BYTES = 128 * 1024**2  # of looks that are kept in memory

File = tuple[int, Path]  # when it was written (ns), and where it is


class SeenLooks:
    """Learns the looks of structures in submitted labels, each slice in a turn that nobody else wants.

    One file per image lies beside the learnt versions, in a folder of the weights that the features are of, so several
    servers know the same. Labels that these weights were trained on are not learnt again: what they look like is in the
    weights' own file. Those they were judged by are.

    Args:
        models: where the network comes from.
        device: that the network is on; None: the best there is.
    """

    def __init__(self, models: ModelStore, device: str | None = None) -> None:
        self._models, self._device = models, device
        self._reading = threading.Lock()
        self._sum: dict[str, Moments] = {}  # of the files that are named next
        self._volumes: Counter[str] = Counter()
        self._summed: frozenset[File] = frozenset()
        self._kept: LRUCache[File, dict[str, Moments]] = LRUCache(MOST_BYTES, getsizeof=_bytes)

    def of(self, network: SLMSAM2, image_id: str | None) -> dict[str, Moments]:
        """Structure -> looks, all that is known in features of a network, but from an image's own label."""
        if not uses_looks(network):
            return {}
        shelf = self._shelf(network.info["version"])
        with self._reading:
            seen = self._read(shelf)
            others = [file for file in sorted(self._summed) if not shelf.is_of(file[1], image_id)]
            if len(others) < len(self._summed):
                seen = reduce(_together, map(self._looks_in, others), {})
        in_weights = {name: one for name, one in network.looks.items() if says_what(name)}
        return _together(in_weights, {name: one.to(network.device) for name, one in seen.items()})

    def volumes(self) -> dict[str, int]:
        """Structure -> in how many submitted volumes its looks were learnt, beside those the weights in use know."""
        with self._reading:
            self._read(self._shelf(self._models.facts()["version"]))
            return dict(self._volumes)

    def _shelf(self, version: str) -> Shelf:
        named = re.sub(r"[^\w.-]", "_", version)
        return Shelf(learnt_folder(self._models.name, self._models.model_dir) / "looks" / named, ".pt")

    def _read(self, shelf: Shelf) -> dict[str, Moments]:
        """The sum of all files, of which new ones are added to what was read before."""
        there = frozenset(shelf.files())
        if not self._summed <= there:
            self._sum, self._volumes, self._summed = {}, Counter(), frozenset()
        for file in sorted(there - self._summed):
            looks = self._looks_in(file)
            self._sum = _together(self._sum, looks)
            self._volumes.update(looks.keys())
        self._summed = there
        return self._sum

    def _looks_in(self, file: File) -> dict[str, Moments]:
        if file not in self._kept:
            looks = _looks_in(file[1])
            if _bytes(looks) > MOST_BYTES:
                return looks
            self._kept[file] = looks
        return self._kept[file]

    def to_learn(self, labelled: Mapping[str, str], changed: Collection[str]) -> list[str]:
        """Forget images that are not labelled any more, or otherwise, and looks in features of other weights; the
        images to learn from now."""
        if not labelled:  # and so no network is needed
            self._shelf(self._models.facts()["version"]).clear_up({})
            return []
        network = self._models.get(resolve_device(self._device))
        if not uses_looks(network):
            return []
        shelf = self._shelf(network.info["version"])
        _forget_other_weights(shelf.folder)
        shelf.clear_up(labelled)
        unknown = {
            image: mark
            for image, mark in labelled.items()
            if not _is_in_weights(network.info["trained"], image, mark, image in changed)
        }
        return shelf.to_learn(unknown, changed)

    def learn(self, case: Case, load: CaseLoader) -> None:
        """Learn from one label, as soon as nobody waits for the device."""
        device = resolve_device(self._device)
        network = self._models.get(device)
        lessons = [Lesson(case, one, fresh=True) for one in case.structures.values() if one.drawn.size]
        looks = learn_looks(lessons, network, load, lambda: self._models.idle(device))
        shelf = self._shelf(network.info["version"])
        write_looks(shelf.path_of(case.image_id, case.submission.mark), looks)
        logger.info("Learnt what %s look like in %s", ", ".join(looks) or "no structures", case.image_id)


def _is_in_weights(trained: Mapping[str, Any], image_id: str, mark: str, changed: bool) -> bool:
    """Whether the looks in an image's label are in the weights' own file; older files do not say in which label, or in
    which images, these looks were.

    Args:
        trained: what is known of the weights.
        mark: of the label, as it is now; "": nobody knows.
        changed: whether it is known to have changed.
    """
    known = trained.get("looks_of", trained.get("labels", ()))
    if mark and "looks_of" in trained and isinstance(known, Mapping):
        return bool(known.get(image_id) == mark)
    return not changed and image_id in known


def _forget_other_weights(folder: Path) -> None:
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _looks_in(file: Path) -> dict[str, Moments]:
    """Of one image; nothing, with a warning, when the file cannot be read."""
    try:
        return read_looks(file)
    except CheckpointError as error:
        logger.warning("Looks of structures are left out: %s", error)
        return {}


def _bytes(looks: dict[str, Moments]) -> int:
    """What looks take in memory."""
    return sum(part.nbytes for one in looks.values() for part in vars(one).values())


def _together(one: dict[str, Moments], other: dict[str, Moments]) -> dict[str, Moments]:
    both = dict(one)
    for name, looks in other.items():
        both[name] = both[name] + looks if name in both else looks
    return both
