"""The labels of a datastore that a model can learn from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from monailabel.interfaces.datastore import Datastore

from slmsam2.files import stamp_of
from slmsam2.prompts import label_names
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.datastore.label_records import label_infos, labelled_images
from slmsam2.server.datastore.pacs_client import is_of_one
from slmsam2.server.datastore.reviews import tag_that_counts
from slmsam2.server.requests.study import label_file
from slmsam2.server.running.shortage import room_for
from slmsam2.training.labelled import Case, CaseLoader, Submission

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Submitted:
    """One label of each image that has one to learn from: see
    :func:`slmsam2.server.datastore.reviews.tag_that_counts`.

    Attributes:
        datastore: where they are.
        only_approved: whether a label counts only once a reviewer has approved it.
    """

    datastore: Datastore
    only_approved: bool = False

    def all(self) -> list[Submission]:
        """All of them, with the files they and their images lie in.

        A DICOMweb datastore fetches what it does not have yet. What it cannot fetch is left out, with a warning.
        """
        self.datastore.datalist()
        found = (_unless_left_out(image_id, partial(self.of, image_id)) for image_id in sorted(self._tags()))
        return [submission for submission in found if submission is not None]

    def of(self, image_id: str) -> Submission | None:
        """That of one image; None, with a warning, when it or its image is gone."""
        # a PACS is asked, before the record is looked at, what was saved elsewhere since
        labels = self.datastore.get_labels_by_image_id(image_id)
        tag = self._tag(image_id)
        label = label_file(self.datastore, labels[tag], tag) if tag is not None and tag in labels else None
        image = Path(self.datastore.get_image_uri(image_id))
        if tag is None or label is None or not image.exists():
            logger.warning("The label of %s, or its image, is not there any more", image_id)
            return None
        mark = self._mark(image_id, tag)  # before it is read: what changes meanwhile is noticed then
        info = self.datastore.get_label_info(labels[tag], tag)
        return Submission(image_id, image, label, label_names(info), _vouched(info), mark)

    def read(self, image_id: str, load: CaseLoader, most_voxels: int) -> Case | None:
        """That of one image, read and kept by ``load``; None when it or its image is gone.

        Raises:
            SlmSam2Error: it cannot be read, is too large, or there is no room for it in memory.
        """
        submission = self.of(image_id)
        if submission is None:
            return None
        with room_for(max(inspect(path, most_voxels) for path in (submission.image, submission.label))):
            return load.read(submission)

    def marks(self) -> dict[str, str]:
        """Image id -> mark of its label, by the datastore's own record.

        By it is noticed that a label was submitted again, edited on disk or renamed; all servers of a folder or of a
        PACS find the same. Other datastores have none ("").
        """
        return {image_id: self._mark(image_id, tag) for image_id, tag in self._tags().items()}

    def count_new(self, known: Mapping[str, str]) -> int:
        """Number of labels that are none of those known.

        Args:
            known: image id -> :func:`slmsam2.files.stamp_of` the label.
        """
        files = (
            (image_id, _unless_left_out(image_id, partial(self._file, image_id, tag)))
            for image_id, tag in self._tags().items()
        )
        return sum(file is not None and stamp_of(file) != known.get(image_id) for image_id, file in files)

    def _tags(self) -> dict[str, str]:
        """Image id -> tag of its label, by the datastore's own record."""
        tags = {image_id: self._tag(image_id) for image_id in labelled_images(self.datastore)}
        return {image_id: tag for image_id, tag in tags.items() if tag is not None}

    def _tag(self, image_id: str) -> str | None:
        return tag_that_counts(label_infos(self.datastore, image_id), self.only_approved)

    def _file(self, image_id: str, tag: str) -> Path | None:
        label_id = self.datastore.get_labels_by_image_id(image_id).get(tag)
        return label_file(self.datastore, label_id, tag) if label_id else None

    def _mark(self, image_id: str, tag: str) -> str:
        is_folder = isinstance(self.datastore, FolderDatastore)
        return self.datastore.mark_of_label(image_id, tag) if is_folder else ""


def _unless_left_out(image_id: str, look: Callable[[], T]) -> T | None:
    """What a look at the label of one image finds; None, with a warning, when a PACS does not send it as it should."""
    try:
        return look()
    except Exception as error:
        if not is_of_one(error):
            raise
        logger.warning("The label of %s is left out: %s", image_id, error)
        return None


def _vouched(info: dict[str, Any]) -> dict[str, list[int]]:
    """What the client says the user answers for: ``label_info: [{name, slices: [...]}]``."""
    entries = info.get("label_info")
    if not isinstance(entries, list):
        return {}
    vouched = {}
    for entry in entries:
        slices = entry.get("slices") if isinstance(entry, dict) else None
        if isinstance(slices, list) and all(isinstance(s, int) for s in slices):
            vouched[str(entry.get("name"))] = slices
    return vouched
