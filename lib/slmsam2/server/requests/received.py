"""What really came with an ``/infer`` request, as opposed to what its ``params`` say.

MONAI Label merges ``params`` over the request, so ``params`` could point ``image`` or ``label`` at any file
of the server. Here those two are taken out, and what was uploaded is remembered for the app.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from fastapi import UploadFile

from slmsam2.errors import PromptError
from slmsam2.server.routes.answers import unknown_image
from slmsam2.server.routes.json_objects import parse_object
from slmsam2.server.routes.names import ending_of, is_session_id

RAW = ".raw"  # our name for MONAI Label's ".bin" labels: read by us, for sessions and uploaded images too
PACKED = (".bin.gz", RAW + ".gz")  # such a label, in less than a hundredth of the bytes over a network
FILE_ENDINGS = (
    ".nii",
    ".nii.gz",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".dcm",
    ".png",
    ".jpg",
    ".jpeg",
    ".bin",
    RAW,
    *PACKED,
)


@dataclass(frozen=True)
class Received:
    """Where the image and the label of a request come from.

    Attributes:
        image_uploaded: the image file is part of this request.
        session: the request names a session.
        label_uploaded: the label file is part of this request.
        annotator: who asks, as *Next Sample* knows them; None: nobody knows.
    """

    image_uploaded: bool = False
    session: bool = False
    label_uploaded: bool = False
    annotator: str | None = None


NOTHING = Received()
received: ContextVar[Received] = ContextVar("received", default=NOTHING)


def receive(arguments: dict[str, Any]) -> Received:
    """Check the arguments of the ``/infer`` endpoint and make them safe, in place.

    Args:
        arguments: ``image``, ``session_id``, ``params`` (JSON text), ``file``, ``label``, as FastAPI gives
            them.

    Raises:
        PromptError: params are no JSON object, or name a file.
        HTTPException: 404 for a session id that cannot be one.
    """
    image, session, file, label = (arguments.get(key) for key in ("image", "session_id", "file", "label"))
    if not (image or session or file):
        raise PromptError(
            "No image was named: give an image id, a session_id, or upload the image as 'file'."
        )
    if session and not is_session_id(session):
        raise unknown_image(f"session {session!r}")
    for upload in (file, label):
        if upload is not None:
            _name_plainly(upload)
    arguments["params"] = json.dumps(safe_params(arguments.get("params"), image or ""))
    return Received(image_uploaded=file is not None, session=bool(session), label_uploaded=label is not None)


def safe_params(text: str | None, image: str) -> dict[str, Any]:
    """Parse ``params`` and take out what could stand for a file on the server.

    Args:
        text: JSON text.
        image: the image id of the request itself; ``params`` may repeat it.

    Raises:
        PromptError: no JSON object; another image; a ``label`` that is a path.
    """
    params = parse_object("params", text)
    if params.pop("image", image) != image:
        raise PromptError(
            "params name another image than the request. Give an image id in the request's 'image', "
            "a session_id, or upload the image as 'file'."
        )
    params.pop("session", None)
    label = params.pop("label", None)
    if label is not None:
        params.setdefault("selected_label_name", segment_name(label))
    return params


def segment_name(label: Any) -> str:
    """The name of a segment, as 3D Slicer sends it in ``label``.

    Raises:
        PromptError: it is no name but a path; only an uploaded or a saved label is ever opened.
    """
    if not isinstance(label, str):
        raise PromptError("'label' in params must be the name of a structure.")
    path = PureWindowsPath(label)  # takes / and \\ alike
    if path.drive or path.root or ".." in path.parts or path.name.lower().endswith(FILE_ENDINGS):
        raise PromptError(
            f"'label' in params is a path ({label!r}). A label file must be uploaded with the request, "
            "or be saved in the datastore for this image."
        )
    return label


def _name_plainly(upload: UploadFile) -> None:
    """Keep only the ending of a client's file name: MONAI Label makes a temporary file's name of it."""
    ending = ending_of(upload.filename, FILE_ENDINGS)
    upload.filename = "upload" + ending.replace(".bin", RAW)
