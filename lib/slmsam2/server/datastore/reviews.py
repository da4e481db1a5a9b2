"""What reviewers say of a label, and which label of an image counts for it.

It is kept where MONAI Label's Reviewer module for 3D Slicer keeps it: in a label's info, under ``segmentationMeta``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from slmsam2.errors import PromptError

FINAL = DefaultLabelTag.FINAL.value
META = "segmentationMeta"
EARLIER = "review"  # the same of an earlier version: the Reviewer takes META to be of one that it made
REVIEWED = "reviewed"  # when, by the server's clock (seconds since 1970); a reviewer's may be off
APPROVED, FLAGGED = "approved", "flagged"
PARTS = ("status", "approvedBy", "level", "comment", "editTime")  # of a review
ANSWERED = "answered"  # editTime of the review of the label that this one replaced
OWN = ("ts", REVIEWED, ANSWERED)  # noted by the server alone
VERSION = re.compile(r"(final|version)_[\d_]+")  # tags that the Reviewer saves under


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
    """What is to be noted with a label, but for the server's own notes; a review with the time, and whole: the Reviewer
    fails where a part is missing.

    Raises:
        PromptError: the review is none.
    """
    told = {key: value for key, value in info.items() if key not in OWN}
    if META not in info:
        return told
    review = info[META]
    if not isinstance(review, Mapping):
        raise PromptError(f"{META!r} must be an object with {', '.join(PARTS)}. Nothing was noted.")
    return {**told, META: {**dict.fromkeys(PARTS, ""), **review}, REVIEWED: int(time.time())}


def answered(before: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be noted with a label that takes the place of another: which review it is the answer to.

    Args:
        before: what was noted with that one.
    """
    meta = before.get(META)
    said = meta.get("editTime") if isinstance(meta, Mapping) and review_of(before).status else None
    review = said or before.get(ANSWERED)
    return {ANSWERED: review} if review else {}


def is_answered(told: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    """Whether a review is that of the label before, which a label is the answer to.

    The Reviewer sends what it has read of an image's other labels once more whenever one of them is reviewed.

    Args:
        told: with the review, if there is one.
        info: what is noted with the label.
    """
    meta = told.get(META)
    return isinstance(meta, Mapping) and bool(info.get(ANSWERED)) and meta.get("editTime") == info[ANSWERED]


def is_to_correct(infos: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an image's final label is flagged, and no reviewer has approved a better one since it was saved.

    Args:
        infos: tag -> what is noted with that label.
    """
    final = infos.get(FINAL, {})
    if review_of(final).status != FLAGGED:
        return False
    others = [info for info in infos.values() if review_of(info).status == APPROVED]
    return all(info.get("ts", 0) < final.get("ts", 0) for info in others)


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
    """The info of a final label that becomes an earlier version; its review stays with it."""
    return {EARLIER if key == META else key: value for key, value in info.items()}


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
