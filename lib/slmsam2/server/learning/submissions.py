"""The final labels of a datastore, as what a model can learn from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from slmsam2.files import stamp_of
from slmsam2.prompts import label_names
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.datastore.pacs_client import is_of_one
from slmsam2.server.requests.study import label_file
from slmsam2.server.running.shortage import room_for
from slmsam2.training.labelled import Case, CaseLoader, Submission

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value


def submissions(datastore: Datastore) -> list[Submission]:
    """All labels tagged final, with the files they and their images lie in.

    A DICOMweb datastore fetches what it does not have yet. What it cannot fetch is left out, with a warning.
    """
    datastore.datalist()
    found = (_fetched(datastore, image_id) for image_id in sorted(submitted_images(datastore)))
    return [submission for submission in found if submission is not None]


def _fetched(datastore: Datastore, image_id: str) -> Submission | None:
    try:
        return submission_of(datastore, image_id)
    except Exception as error:
        if not is_of_one(error):
            raise
        logger.warning("The final label of %s is left out: %s", image_id, error)
        return None


def submission_of(datastore: Datastore, image_id: str) -> Submission | None:
    """The label of one image that is tagged final; None, with a warning, when it or its image is gone."""
    label = _final_label(datastore, image_id)
    image = Path(datastore.get_image_uri(image_id))
    if label is None or not image.exists():
        logger.warning("The final label of %s, or its image, is not there any more", image_id)
        return None
    mark = _mark(datastore, image_id)  # before it is read: what changes meanwhile is noticed then
    info = datastore.get_label_info(datastore.get_label_by_image_id(image_id, FINAL), FINAL)
    return Submission(image_id, image, label, label_names(info), _vouched(info), mark)


def read_submitted(datastore: Datastore, image_id: str, load: CaseLoader, most_voxels: int) -> Case | None:
    """The label of one image that is tagged final, read and kept by ``load``; None when it or its image is gone.

    Raises:
        SlmSam2Error: it cannot be read, is too large, or there is no room for it in memory.
    """
    submission = submission_of(datastore, image_id)
    if submission is None:
        return None
    with room_for(max(inspect(path, most_voxels) for path in (submission.image, submission.label))):
        return load.read(submission)


def submitted_images(datastore: Datastore) -> list[str]:
    """Ids of the images with a final label, by the datastore's own record (no query of a DICOMweb server)."""
    if isinstance(datastore, LocalDatastore):
        return LocalDatastore.get_labeled_images(datastore)
    return datastore.get_labeled_images()


def submitted_marks(datastore: Datastore) -> dict[str, str]:
    """Image id -> mark of each final label, by the datastore's own record.

    By it is noticed that a label was submitted again, edited on disk or renamed; all servers of a folder or of a PACS
    find the same. Other datastores have none ("").
    """
    return {image_id: _mark(datastore, image_id) for image_id in submitted_images(datastore)}


def _mark(datastore: Datastore, image_id: str) -> str:
    return datastore.mark_of_label(image_id, FINAL) if isinstance(datastore, FolderDatastore) else ""


def count_new(datastore: Datastore, known: Mapping[str, str]) -> int:
    """Number of final labels that are none of those known.

    Args:
        known: image id -> :func:`slmsam2.files.stamp_of` the label.
    """
    files = ((image_id, _final_label(datastore, image_id)) for image_id in submitted_images(datastore))
    return sum(label is not None and stamp_of(label) != known.get(image_id) for image_id, label in files)


def _final_label(datastore: Datastore, image_id: str) -> Path | None:
    label_id = datastore.get_labels_by_image_id(image_id).get(FINAL)
    return label_file(datastore, label_id, FINAL) if label_id else None


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
