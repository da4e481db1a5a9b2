"""What a datastore has on record of its labels, and of what reviewers say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore

from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.reviews import (
    APPROVED,
    FINAL,
    FLAGGED,
    Review,
    is_to_correct,
    review_of,
    tag_that_counts,
)
from slmsam2.server.datastore.versions import NOBODY


@dataclass(frozen=True)
class Flagged:
    """A final label that somebody is to look at again.

    Attributes:
        review: what the reviewer says.
        annotator: who saved it; None if nobody knows.
    """

    review: Review
    annotator: str | None


def label_infos(datastore: Datastore, image_id: str) -> dict[str, dict[str, Any]]:
    """Tag -> info of an image's labels, by the datastore's own record (no query of a DICOMweb server)."""
    labels = label_ids(datastore, image_id)
    return {tag: datastore.get_label_info(label_id, tag) for tag, label_id in labels.items()}


def label_ids(datastore: Datastore, image_id: str) -> dict[str, str]:
    """Tag -> id of an image's labels, by the datastore's own record (no query of a DICOMweb server)."""
    if isinstance(datastore, LocalDatastore):
        return LocalDatastore.get_labels_by_image_id(datastore, image_id)
    labels: dict[str, str] = datastore.get_labels_by_image_id(image_id)
    return labels


def final_info(datastore: Datastore, image_id: str) -> dict[str, Any] | None:
    """What is known of the final label of an image, without fetching it; None: there is none."""
    if isinstance(datastore, FolderDatastore):
        return datastore.final_info(image_id)
    return label_infos(datastore, image_id).get(FINAL)


def note_with_final(
    datastore: Datastore, image_id: str, note: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Note something with the final label of an image.

    Args:
        note: is given what is known of the label, and gives what is to be noted; what it raises is raised.

    Raises:
        LookupError, MONAILabelException: there is none.
    """
    if isinstance(datastore, FolderDatastore):
        return datastore.note_with_final(image_id, note)
    info = label_infos(datastore, image_id)[FINAL]
    datastore.update_label_info(datastore.get_label_by_image_id(image_id, FINAL), FINAL, note(info))


def review_summary(datastore: Datastore) -> dict[str, int]:
    """How many images have a final label (``labelled``), an ``approved`` one, one to be corrected (``flagged``)."""
    found: Counter[str] = Counter(labelled=0, approved=0, flagged=0)
    for image_id in labelled_images(datastore):
        infos = label_infos(datastore, image_id)
        found["labelled"] += 1
        found[APPROVED] += tag_that_counts(infos, only_approved=True) is not None
        found[FLAGGED] += is_to_correct(infos)
    return dict(found)


def flagged_images(datastore: Datastore) -> dict[str, Flagged]:
    """Image id -> what is to be done again there, those flagged first to begin with."""
    found = {}
    for image_id in labelled_images(datastore):
        if not is_to_correct(label_infos(datastore, image_id)):
            continue
        info = final_info(datastore, image_id) or {}  # of a PACS: another program may have saved one since
        review = review_of(info)
        if review.status == FLAGGED:
            # the creator is all that is known of what another server stored in a PACS
            name = info.get("user") or info.get("client_id") or info.get("creator")
            found[image_id] = Flagged(review, name if isinstance(name, str) and name not in NOBODY else None)
    return dict(sorted(found.items(), key=lambda item: item[1].review.when))


def labelled_images(datastore: Datastore) -> list[str]:
    """Ids of the images with a final label, by the datastore's own record (no query of a DICOMweb server)."""
    if isinstance(datastore, LocalDatastore):
        return LocalDatastore.get_labeled_images(datastore)
    return datastore.get_labeled_images()
