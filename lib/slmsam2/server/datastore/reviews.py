"""What reviewers say of labels, and which label of an image counts for it.

It is kept where MONAI Label's Reviewer module for 3D Slicer keeps it: in a label's info, under ``segmentationMeta``.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from slmsam2.errors import PromptError

FINAL = DefaultLabelTag.FINAL.value
META = "segmentationMeta"
EARLIER = "review"  # the same of an earlier version: the Reviewer takes META to be of one that it made
REVIEWED = "reviewed"  # when, by the server's clock (seconds since 1970); a reviewer's may be off
APPROVED, FLAGGED = "approved", "flagged"
PARTS = ("status", "approvedBy", "level", "comment", "editTime")  # of a review
VERSION = re.compile(r"version_\d+")  # tags of what is saved in the Reviewer


@dataclass(frozen=True)
class Review:
    """What a reviewer says of a label.

    Attributes:
        status: ``approved``, ``flagged``; "": neither.
        reviewer: who says so, "" if nobody knows.
        comment: for the annotator.
        when: seconds since 1970; 0 if nobody knows.
    """

    status: str = ""
    reviewer: str = ""
    comment: str = ""
    when: float = 0.0


@dataclass(frozen=True)
class Flagged:
    """A final label that somebody is to look at again.

    Attributes:
        review: what the reviewer says.
        annotator: who saved it; None if nobody knows.
    """

    review: Review
    annotator: str | None


def review_of(info: Mapping[str, Any]) -> Review:
    """The review in a label's info; clients can write anything there, and what is none says nothing."""
    meta = info.get(META, info.get(EARLIER))
    if not isinstance(meta, Mapping):
        return Review()
    status, reviewer, comment = (meta.get(key) for key in ("status", "approvedBy", "comment"))
    when = info.get(REVIEWED)
    return Review(
        status if status in (APPROVED, FLAGGED) else "",
        reviewer if isinstance(reviewer, str) else "",
        comment.strip() if isinstance(comment, str) else "",
        float(when) if isinstance(when, (int, float)) else 0.0,
    )


def noted(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be noted with a label; a review with the time, and whole: the Reviewer fails where a part is missing.

    Raises:
        PromptError: the review is none.
    """
    if META not in info:
        return dict(info)
    review = info[META]
    if not isinstance(review, Mapping):
        raise PromptError(f"{META!r} must be an object with {', '.join(PARTS)}. Nothing was noted.")
    return {**info, META: {**dict.fromkeys(PARTS, ""), **review}, REVIEWED: int(time.time())}


def signed(info: Mapping[str, Any], user: str) -> dict[str, Any]:
    """What a user who signed in notes with a label: a review is theirs, and who saved the label stays as it is."""
    told = {key: value for key, value in info.items() if key != "user"}
    review = told.get(META)
    if isinstance(review, Mapping) and review.get("status"):
        told[META] = {**review, "approvedBy": user}
    return told


def without_review(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is noted with a label but for its review: who reviews a label does not change it."""
    return {key: value for key, value in info.items() if key not in (META, EARLIER, REVIEWED)}


def as_earlier(info: Mapping[str, Any]) -> dict[str, Any]:
    """The info of a label that becomes an earlier version; its review stays with it."""
    return {EARLIER if key == META else key: value for key, value in info.items()}


def label_infos(datastore: Datastore, image_id: str) -> dict[str, dict[str, Any]]:
    """Tag -> info of an image's labels, by the datastore's own record (no query of a DICOMweb server)."""
    if isinstance(datastore, LocalDatastore):
        labels = LocalDatastore.get_labels_by_image_id(datastore, image_id)
    else:
        labels = datastore.get_labels_by_image_id(image_id)
    return {tag: datastore.get_label_info(label_id, tag) for tag, label_id in labels.items()}


def tag_that_counts(infos: Mapping[str, Mapping[str, Any]], only_approved: bool = False) -> str | None:
    """Which of an image's labels is the one to learn from and to go on with.

    The one approved last, unless a final one was saved since; else the final one, unless it is flagged.

    Args:
        infos: tag -> what is noted with that label.
        only_approved: whether a label counts only once it is approved.
    """
    reviews = {tag: review_of(info) for tag, info in infos.items()}
    approved = [tag for tag, review in reviews.items() if review.status == APPROVED]
    best = max(approved, key=lambda tag: reviews[tag].when, default=None)
    if only_approved or FINAL not in infos or reviews[FINAL].status == FLAGGED:
        return best
    saved = infos[FINAL].get("ts", 0)
    return FINAL if best is None or saved > reviews[best].when else best


def review_summary(datastore: Datastore) -> dict[str, int]:
    """How many images have a final label (``labelled``), one that is ``approved``, a final one that is ``flagged``."""
    found: Counter[str] = Counter(labelled=0, approved=0, flagged=0)
    for image_id in labelled_images(datastore):
        infos = label_infos(datastore, image_id)
        found["labelled"] += 1
        found[APPROVED] += tag_that_counts(infos, only_approved=True) is not None
        found[FLAGGED] += review_of(infos.get(FINAL, {})).status == FLAGGED
    return dict(found)


def flagged_images(datastore: Datastore) -> dict[str, Flagged]:
    """Image id -> what is to be done again there, those flagged first to begin with."""
    found = {}
    for image_id in labelled_images(datastore):
        info = label_infos(datastore, image_id).get(FINAL, {})
        review = review_of(info)
        if review.status == FLAGGED:
            found[image_id] = Flagged(review, info.get("user") or info.get("client_id"))
    return dict(sorted(found.items(), key=lambda item: item[1].review.when))


def labelled_images(datastore: Datastore) -> list[str]:
    """Ids of the images with a final label, by the datastore's own record (no query of a DICOMweb server)."""
    if isinstance(datastore, LocalDatastore):
        return LocalDatastore.get_labeled_images(datastore)
    return datastore.get_labeled_images()
