"""Finding the image and the label a request is about: datastore, session or upload, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import requests
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from slmsam2.errors import PromptError
from slmsam2.files import content_of
from slmsam2.server.datastore.reviews import FINAL, tag_that_counts
from slmsam2.server.requests.received import Received
from slmsam2.server.routes.answers import archive_failed, unknown_image, unreachable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """An image and what was painted on it.

    Attributes:
        image_id: id in the datastore; None for a session or an upload.
        image: file or folder.
        label: labelmap file, uploaded with the request or saved before; None when there is none and none is needed.
        saved_info: what was saved with a saved label.
        uploaded: whether the image came with the request and will be gone with it.
    """

    image_id: str | None
    image: Path
    label: Path | None
    saved_info: dict[str, Any] = field(default_factory=dict)
    uploaded: bool = False

    @property
    def lasting_id(self) -> str | None:
        """What tells this image from others, and from another one under the same name; None for an upload.

        A session's image goes by what it holds: when a session has ended, 3D Slicer sends the image again for another.
        """
        if self.uploaded:
            return None
        if self.image_id is None:
            return content_of(self.image)
        return f"{self.image_id} {self.image.stat().st_mtime_ns}"


class LabelFrom(Enum):
    """Where a task takes its label from."""

    UPLOAD_OR_DATASTORE = auto()
    UPLOAD_IF_ANY = auto()
    DATASTORE = auto()


def find_study(
    request: Mapping[str, Any],
    came: Received,
    datastore: Datastore,
    tag: str | None,
    source: LabelFrom = LabelFrom.UPLOAD_OR_DATASTORE,
) -> Study:
    """Locate the image and the label of a request.

    Args:
        request: MONAI Label's request; ``image`` and ``label`` are file names only where ``came`` says so.
        came: what was uploaded.
        tag: which saved label to use when none was uploaded; None: the one that counts (what a reviewer approved, if no
            final one is newer), else final, else original, else the newest.
        source: where the label may come from.

    Raises:
        HTTPException: 404, unknown image or session; 502 or 504, the datastore cannot be reached.
        PromptError: no label was uploaded and none is saved.
    """
    image_id, image = _find_image(request, came, datastore)
    if came.label_uploaded and source is not LabelFrom.DATASTORE:
        return Study(image_id, image, Path(request["label"]), uploaded=came.image_uploaded)
    if source is LabelFrom.UPLOAD_IF_ANY:
        return Study(image_id, image, None, uploaded=came.image_uploaded)
    if image_id is None:
        raise PromptError(
            "No label came with this request. Paint one slice and send the label map as 'label'."
        )
    label, info = _saved_label(datastore, image_id, tag)
    return Study(image_id, image, label, info)


def _find_image(request: Mapping[str, Any], came: Received, datastore: Datastore) -> tuple[str | None, Path]:
    image = request.get("image")
    if came.session:
        session = request.get("session")
        if not session:
            raise unknown_image("open session of that id")
        return None, Path(session["image"])
    if came.image_uploaded:
        return None, Path(str(image))
    if not isinstance(image, str) or not image or Path(image).name != image or "\\" in image:
        raise unknown_image(f"image {image!r}")
    try:
        uri = datastore.get_image_uri(image)
    except LookupError as error:
        raise unknown_image(f"image {image!r}") from error
    except requests.RequestException as error:
        logger.warning("Image %s could not be fetched: %s", image, error)
        raise archive_failed(error) from error
    except OSError as error:
        logger.warning("Image %s could not be fetched: %s", image, error)
        raise unreachable(f"image {image!r}") from error
    if not uri or not Path(uri).exists():
        raise unknown_image(f"image {image!r}")
    return image, Path(uri)


def _saved_label(datastore: Datastore, image_id: str, tag: str | None) -> tuple[Path, dict[str, Any]]:
    saved = datastore.get_labels_by_image_id(image_id)
    infos = {t: datastore.get_label_info(label_id, t) for t, label_id in saved.items()}
    newest = sorted(saved, key=lambda t: infos[t].get("ts", 0), reverse=True)
    usual = [tag_that_counts(infos) or FINAL, FINAL, DefaultLabelTag.ORIGINAL.value, *newest]
    order = [tag] if tag else usual
    for candidate in order:
        path = label_file(datastore, saved[candidate], candidate) if candidate in saved else None
        if path is not None:
            return path, infos[candidate]
    wanted = f" under the tag {tag!r}" if tag else ""
    raise PromptError(
        f"No label came with this request and none is saved for image {image_id!r}{wanted}. "
        "Paint one slice and send the label map as 'label', or save a label first."
    )


def label_file(datastore: Datastore, label_id: str, tag: str) -> Path | None:
    """The file of a saved label; None when there is none on this machine."""
    uri = datastore.get_label_uri(label_id, tag)
    return Path(uri) if uri and Path(uri).is_file() else None
