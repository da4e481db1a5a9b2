"""How large structures are from slice to slice in the labels submitted so far, for the next image."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import SlmSam2Error
from slmsam2.files import write_json
from slmsam2.server.configuration import MOST_VOXELS
from slmsam2.server.shelf import Shelf
from slmsam2.server.submissions import read_submitted, submitted_images
from slmsam2.volume import Profile

logger = logging.getLogger(__name__)

Profiles = dict[str, list[Profile]]


class SeenLengths:
    """Learns the profiles of whole structures in submitted labels; they are the same for all weights.

    Args:
        folder: for a file per image.
        datastore: where the labels are.
        most_voxels: bound on images and labels.
    """

    def __init__(
        self, folder: Path, datastore: Callable[[], Datastore], most_voxels: int = MOST_VOXELS
    ) -> None:
        self._shelf, self._datastore, self._most_voxels = Shelf(folder, ".json"), datastore, most_voxels
        self._reading = threading.Lock()
        self._profiles: Profiles = {}  # of the files that are named next
        self._read_from: list[tuple[int, Path]] = []

    def known(self) -> Profiles:
        """Structure -> how large it was in each volume."""
        with self._reading:
            files = self._shelf.files()
            if files != self._read_from:
                self._profiles, self._read_from = {}, files
                for _, file in files:
                    for name, profile in _profiles_in(file).items():
                        self._profiles.setdefault(name, []).append(profile)
            return self._profiles

    def volumes(self) -> dict[str, int]:
        """Structure -> in how many submitted volumes it was seen whole."""
        return {name: len(profiles) for name, profiles in self.known().items()}

    def learn(self, changed: Collection[str]) -> None:
        """Learn from labels that were submitted now, and from those before that were not seen yet."""
        labelled = submitted_images(self._datastore())
        self._shelf.clear_up(labelled)
        for image_id in self._shelf.to_learn(labelled, changed):
            try:
                self._learn_one(image_id)
            except (SlmSam2Error, OSError, LookupError) as error:
                logger.info("Lengths of the structures in %s cannot be learnt: %s", image_id, error)

    def _learn_one(self, image_id: str) -> None:
        case = read_submitted(self._datastore(), image_id, self._most_voxels)
        if case is None:
            return
        profiles = {name: one.profile for name, one in case.structures.items() if one.profile is not None}
        content = {name: vars(replace(one, areas=one.areas.tolist())) for name, one in profiles.items()}
        write_json(self._shelf.path_of(image_id), content)


def _profiles_in(file: Path) -> dict[str, Profile]:
    """Of one image; nothing, with a warning, when the file cannot be read."""
    try:
        content = json.loads(file.read_text())
        return {
            name: Profile(int(one["patient_axis"]), float(one["spacing"]), np.array(one["areas"], np.float32))
            for name, one in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("Lengths of structures are left out: %s: %s", file, error)
        return {}
