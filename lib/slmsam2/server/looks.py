"""What structures look like in the labels submitted so far, for the next image: long before a training."""

from __future__ import annotations

import contextlib
import hashlib
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
from slmsam2.server.background import Background
from slmsam2.server.configuration import MOST_VOXELS
from slmsam2.server.devices import resolve_device
from slmsam2.server.inspection import inspect
from slmsam2.server.models import ModelStore
from slmsam2.server.shortage import check_room
from slmsam2.server.submissions import submission_of, submitted_images
from slmsam2.training.labelled import CaseLoader, read_case
from slmsam2.training.lessons import Lesson
from slmsam2.training.looks import learn_looks, uses_looks

logger = logging.getLogger(__name__)

MOST_VOLUMES = 50  # whose looks are kept; those learnt first go first


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
        self._submitted: Background[str] = Background("looks", self._learn)
        self._reading = threading.Lock()
        self._sum: dict[str, Moments] = {}  # of the files that are named next
        self._volumes: Counter[str] = Counter()
        self._summed: frozenset[tuple[int, Path]] = frozenset()

    def label_saved(self, image_id: str) -> None:
        """A label was submitted: learn from it as soon as nobody waits for the device."""
        self._submitted.add(image_id)

    def of(self, network: SLMSAM2) -> dict[str, Moments]:
        """Structure -> looks, all that is known in features of a network."""
        if not uses_looks(network):
            return {}
        with self._reading:
            seen = self._read(self._folder(network.info["version"]))
        return _together(network.looks, {name: one.to(network.device) for name, one in seen.items()})

    def volumes(self) -> dict[str, int]:
        """Structure -> in how many submitted volumes its looks were learnt, beside those the weights in use know."""
        with self._reading:
            self._read(self._folder(self._models.facts()["version"]))
            return dict(self._volumes)

    def _folder(self, version: str) -> Path:
        named = re.sub(r"[^\w.-]", "_", version)
        return learnt_folder(self._models.name, self._models.model_dir) / "looks" / named

    def _read(self, folder: Path) -> dict[str, Moments]:
        """The sum of all files, of which new ones are added to what was read before."""
        there = frozenset(_files(folder))
        if not self._summed <= there:
            self._sum, self._volumes, self._summed = {}, Counter(), frozenset()
        for _, file in sorted(there - self._summed):
            looks = _looks_in(file)
            self._sum = _together(self._sum, looks)
            self._volumes.update(looks.keys())
        self._summed = there
        return self._sum

    def _learn(self, changed: Collection[str]) -> None:
        device = resolve_device(self._device)
        network = self._models.get(device)
        if not uses_looks(network):
            return
        folder = self._folder(network.info["version"])
        labelled = submitted_images(self._datastore())
        _clear_up(folder, {_file_name(image) for image in labelled})
        trained_on = network.info["trained"].get("labels", {})
        known = {file.name for _, file in _files(folder)}
        missing = [i for i in labelled if i not in trained_on and _file_name(i) not in known]
        again = [i for i in labelled if i in changed]
        room = max(MOST_VOLUMES - len(known) - len(again), 0)
        for image_id in dict.fromkeys([*again, *missing[:room]]):
            try:
                self._learn_one(image_id, network, device, folder / _file_name(image_id))
            except (SlmSam2Error, OSError, LookupError) as error:
                logger.info("Looks of the structures in %s cannot be learnt: %s", image_id, error)

    def _learn_one(self, image_id: str, network: SLMSAM2, device: str, file: Path) -> None:
        submission = submission_of(self._datastore(), image_id)
        if submission is None:
            return
        check_room(max(inspect(path, self._most_voxels) for path in (submission.image, submission.label)))
        case = read_case(submission)
        lessons = [Lesson(case, one, fresh=True) for one in case.structures.values() if one.drawn.size]
        looks = learn_looks(lessons, network, CaseLoader(), lambda: self._models.idle(device))
        write_looks(file, looks)
        logger.info("Learnt what %s look like in %s", ", ".join(looks) or "no structures", image_id)


def _file_name(image_id: str) -> str:
    return f"{hashlib.sha256(image_id.encode()).hexdigest()[:16]}.pt"


def _files(folder: Path) -> list[tuple[int, Path]]:
    """When they were written (ns) and where they are, the newest at the end."""
    files = []
    for file in folder.glob("[0-9a-f]*.pt"):
        with contextlib.suppress(FileNotFoundError):  # another server has cleared it up
            files.append((file.stat().st_mtime_ns, file))
    return sorted(files)


def _clear_up(folder: Path, wanted: Collection[str]) -> None:
    """Remove what is of other weights, of labels that are gone, and the oldest of what is too much."""
    for other in folder.parent.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    files = [file for _, file in _files(folder)]
    kept = [file for file in files if file.name in wanted][-MOST_VOLUMES:]
    for file in set(files) - set(kept):
        file.unlink(missing_ok=True)


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
