"""What a user is told when a request cannot be served."""

from __future__ import annotations

import requests
import urllib3
from fastapi import HTTPException

from slmsam2.errors import (
    ArchiveError,
    CheckpointError,
    MemoryShortageError,
    RunCancelledError,
    SlmSam2Error,
    StorageError,
    TimeUpError,
    TooLargeError,
    TransferError,
)


def refusal(error: SlmSam2Error) -> HTTPException:
    """The HTTP answer for an error raised on purpose: its sentence, with 503 without weights, 409 when the run was
    cancelled, 504 when its time was up, 501 for what the PACS does not do, 502 for what it did by half, 507 for a full
    disk or memory, 413 for a volume that is too large, else 400."""
    statuses = {
        CheckpointError: 503,
        RunCancelledError: 409,
        TimeUpError: 504,
        ArchiveError: 501,
        TransferError: 502,
        StorageError: 507,
        MemoryShortageError: 507,
        TooLargeError: 413,
    }
    return HTTPException(status_code=statuses.get(type(error), 400), detail=str(error))


def unknown_image(what: str) -> HTTPException:
    """404 for an image that is neither in the datastore, nor a session, nor uploaded."""
    return HTTPException(
        status_code=404,
        detail=f"There is no {what} on this server. Give the id of an image in the datastore, "
        "the id of an open session, or upload the image file with the request.",
    )


def unreachable(image: str) -> HTTPException:
    """502 for an image, or a list of them, that the image archive does not give."""
    return HTTPException(status_code=502, detail=f"The {image} could not be fetched from the image archive.")


def all_handed_out(images: int, minutes: int) -> HTTPException:
    """409 when other annotators have all that is left."""
    left = "The only image that is left was" if images == 1 else f"All {images} images that are left were"
    return HTTPException(
        status_code=409,
        detail=f"{left} handed to other annotators in the last minutes. "
        f"Ask again in {minutes} min, or open an image by yourself.",
    )


def unknown_label() -> HTTPException:
    """404 for an image or a label that is not in the datastore."""
    return HTTPException(404, "There is no such image, or no label of it under this tag, on this server.")


def archive_failed(error: Exception) -> HTTPException:
    """504 for an image archive that took too long, 502 for one that refuses something or cannot be reached.

    Args:
        error: of requests or urllib3.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _archive_refused(error.response)
    # an answer that stops in the middle is a ConnectionError around what urllib3 raised
    if any(
        isinstance(each, (requests.Timeout, urllib3.exceptions.TimeoutError)) for each in (error, *error.args)
    ):
        return HTTPException(
            504, "The image archive (PACS) did not answer in time. Check that it is well, then try again."
        )
    return HTTPException(502, "The image archive (PACS) does not answer. Check that it runs, then try again.")


def _archive_refused(response: requests.Response) -> HTTPException:
    tried = {"POST": "store a label", "DELETE": "delete a label"}.get(
        str(response.request.method), "find or send images or labels"
    )
    advice = {
        401: "Check the user and the password that this server was given for it (MONAI_LABEL_DICOMWEB_USERNAME).",
        403: "Let the user that this server was given for it (MONAI_LABEL_DICOMWEB_USERNAME) do so.",
        507: "Free some space there, then try again.",
    }.get(response.status_code, "Its log says why.")
    answered = f"{response.status_code} {response.reason or ''}".strip()
    return HTTPException(
        502, f"The image archive (PACS) answered {answered} when it was asked to {tried}. {advice}"
    )


def failure() -> HTTPException:
    """500 for what nobody foresaw; the traceback is in the log."""
    return HTTPException(
        status_code=500,
        detail="The server could not finish this request because of an error of its own. "
        "Its log (apps/slmsam2/logs/app.log) says what happened.",
    )
