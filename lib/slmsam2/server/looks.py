"""What structures look like in the labels submitted so far, for the next image: long before a training."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import CheckpointError, SlmSam2Error
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.modeling.build import learnt_folder
from slmsam2.modeling.checkpoint import read_looks, write_looks
from slmsam2.server.configuration import MOST_VOXELS
from slmsam2.server.devices import resolve_device
from slmsam2.server.models import ModelStore
from slmsam2.server.shelf import Shelf
from slmsam2.server.submissions import read_submitted, submitted_images
from slmsam2.training.labelled import CaseLoader
from slmsam2.training.lessons import Lesson
from slmsam2.training.looks import learn_looks, uses_looks

logger = logging.getLogger(__name__)


class SeenLooks:
    """Learns the looks of structures in submitted labels, each slice in a turn that nobody else wants.

    One file per image lies beside the learnt versions, in a folder of the weights that the features are of, so several
    servers know the same. Labels that these weights were trained on are not learnt again: what they look like is in the
    weights' own file.

    Args:
        models: where the network comes from.
        datastore: where the labels are.
        device: that the network is on; None: the best there is.
        most_voxels: bound on images and labels.
    """

    def __init__(
        self,
        models: ModelStore,
        datastore: Callable[[], Datastore],
        device: str | None = None,
        most_voxels: int = MOST_VOXELS,
    ) -> None:
        self._models, self._datastore = models, datastore
        self._device, self._most_voxels = device, most_voxels
        self._reading = threading.Lock()
        self._sum: dict[str, Moments] = {}  # of the files that are named next
        self._volumes: Counter[str] = Counter()
        self._summed: frozenset[tuple[int, Path]] = frozenset()

    def of(self, network: SLMSAM2) -> dict[str, Moments]:
        """Structure -> looks, all that is known in features of a network."""
        if not uses_looks(network):
            return {}
        with self._reading:
            seen = self._read(self._shelf(network.info["version"]))
        return _together(network.looks, {name: one.to(network.device) for name, one in seen.items()})

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
        for _, file in sorted(there - self._summed):
            looks = _looks_in(file)
            self._sum = _together(self._sum, looks)
            self._volumes.update(looks.keys())
        self._summed = there
        return self._sum

    def learn(self, changed: Collection[str]) -> None:
        """Learn from labels that were submitted now, and from those before that were not seen yet, as soon as nobody
        waits for the device."""
        device = resolve_device(self._device)
        network = self._models.get(device)
        if not uses_looks(network):
            return
        shelf = self._shelf(network.info["version"])
        labelled = submitted_images(self._datastore())
        _forget_other_weights(shelf.folder)
        shelf.clear_up(labelled)
        trained_on = network.info["trained"].get("labels", {})
        wanted = [image for image in labelled if image in changed or image not in trained_on]
        for image_id in shelf.to_learn(wanted, changed):
            try:
                self._learn_one(image_id, network, device, shelf.path_of(image_id))
            except (SlmSam2Error, OSError, LookupError) as error:
                logger.info("Looks of the structures in %s cannot be learnt: %s", image_id, error)

    def _learn_one(self, image_id: str, network: SLMSAM2, device: str, file: Path) -> None:
        case = read_submitted(self._datastore(), image_id, self._most_voxels)
        if case is None:
            return
        lessons = [Lesson(case, one, fresh=True) for one in case.structures.values() if one.drawn.size]
        looks = learn_looks(lessons, network, CaseLoader(), lambda: self._models.idle(device))
        write_looks(file, looks)
        logger.info("Learnt what %s look like in %s", ", ".join(looks) or "no structures", image_id)


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


def _together(one: dict[str, Moments], other: dict[str, Moments]) -> dict[str, Moments]:
    both = dict(one)
    for name, looks in other.items():
        both[name] = both[name] + looks if name in both else looks
    return both
