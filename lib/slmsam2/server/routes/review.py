"""Routes by which a viewer shows, and notes, what reviewers say of an image's label: ``/slmsam2/review/{image}``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user.auth import User, get_current_user
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance

from slmsam2.errors import PromptError
from slmsam2.server.datastore.creators import name_of
from slmsam2.server.datastore.label_records import final_info, note_with_final
from slmsam2.server.datastore.reviews import APPROVED, FLAGGED, META, review_of
from slmsam2.server.routes.answers import unknown_label
from slmsam2.server.routes.front import new_router, off_the_loop
from slmsam2.server.routes.json_objects import check_object

STATUSES = (APPROVED, FLAGGED, "")
MOST_CHARACTERS = 2000  # of a comment


def review_routes() -> APIRouter:
    """``GET`` tells what is known of an image's final label, without fetching it; ``POST`` what a reviewer says of it.

    Both answer ``{"label": null}`` or ``{"label": {"status", "reviewer", "comment", "creator", "made", "mark"}}``;
    ``made`` is a date and time as ISO 8601 writes them, ``mark`` another one for each label that is saved.
    """
    router = new_router("/slmsam2/review")
    look = off_the_loop(_look, lambda arguments: _look(**arguments))
    note = off_the_loop(_note, lambda arguments: _note(**arguments))
    for method, name, endpoint, summary in (
        ("GET", "slmsam2_review", look, "What reviewers say of an image's label"),
        ("POST", "slmsam2_note_review", note, "Approve or flag an image's label"),
    ):
        router.add_api_route(
            "/{image}", endpoint, methods=[method], name=name, summary=summary, tags=["Datastore"]
        )
    return router


def _look(image: str) -> dict[str, Any]:
    return {"label": _facts(final_info(app_instance().datastore(), image))}


def _note(
    image: str,
    review: Annotated[dict[str, Any], Body(description="status, comment, mark, client_id")],
    user: Annotated[User, Depends(get_current_user)],
) -> dict[str, Any]:
    """Raises:
    HTTPException: 404, there is no label; 409, it is not the one that was looked at.
    PromptError: the review is none.
    """
    status, comment = _checked(review)
    app = app_instance()
    if final_info(app.datastore(), image) is None:
        raise unknown_label()
    signed_in = settings.MONAI_LABEL_AUTH_ENABLE
    by = user.username if signed_in else name_of({"client_id": review.get("client_id")})
    said = {"status": status, "approvedBy": by, "comment": comment, "editTime": int(time.time())}

    def note(info: dict[str, Any]) -> dict[str, Any]:
        if review.get("mark") != _mark(info):
            raise HTTPException(
                409, "Another label was saved for this image meanwhile. Load that one, and look at it first."
            )
        before = info.get(META)
        return {META: {**before, **said} if isinstance(before, Mapping) else said}

    try:
        note_with_final(app.datastore(), image, note)
    except (LookupError, MONAILabelException) as error:
        raise unknown_label() from error
    app.label_reviewed(image)
    return _look(image)


def _checked(review: dict[str, Any]) -> tuple[str, str]:
    """Status and comment."""
    status, comment = (check_object("review", review).get(key, "") for key in ("status", "comment"))
    if status not in STATUSES:
        raise PromptError(f"A review's status is {APPROVED!r}, {FLAGGED!r} or '' (neither), not {status!r}.")
    if not isinstance(comment, str) or len(comment) > MOST_CHARACTERS:
        raise PromptError(f"A review's comment must be a text of at most {MOST_CHARACTERS} characters.")
    return status, comment.strip()


def _facts(info: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if info is None:
        return None
    review, saved = review_of(info), info.get("ts", 0)
    made = info.get("made") or datetime.fromtimestamp(saved, UTC).isoformat()
    return {
        "status": review.status,
        "reviewer": review.reviewer,
        "comment": review.comment,
        "creator": info.get("creator") or name_of(info),
        "made": made,
        "mark": _mark(info),
    }


def _mark(info: Mapping[str, Any]) -> str:
    return str(info.get("SeriesInstanceUID") or info.get("ts", ""))
