"""The images and labels of a datastore as one archive."""

from __future__ import annotations

import json
import zipfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import PromptError
from slmsam2.server.datastore.label_records import label_ids, label_infos, labelled_images
from slmsam2.server.datastore.reviews import FINAL, tag_that_counts
from slmsam2.server.routes.uploads import temporary


def pack(datastore: Datastore, most_cases: int | None = None) -> IO[Any]:
    """All images with a final label, their labels and the index, laid out as MONAI Label's own archive.

    What a reviewer has approved in place of a final label is the label there.

    MONAI Label's leaves half an archive behind when the disk is full.

    Args:
        most_cases: how many images at most; None or 0: all.

    Returns:
        A zip that is a file as long as it is open.

    Raises:
        OSError: there is no space for it.
        PromptError: there is no final label.
    """
    cases = datastore.datalist()
    if not cases:
        raise PromptError("There is no final label yet, so there is no dataset. Submit a label first.")
    approved = _approved(datastore)
    with ExitStack() as stack:
        file = stack.enter_context(temporary(".zip"))
        with zipfile.ZipFile(file, "w") as archive:
            for case in cases[:most_cases] if (most_cases or 0) > 0 else cases:
                label = approved.get(case["image"], case["label"])
                with suppress(FileNotFoundError):  # deleted meanwhile: the label first, then the image
                    for kind, path in {"label": label, "image": case["image"]}.items():
                        archive.write(path, f"{kind}/{Path(path).name}")
            archive.writestr("metadata.json", json.dumps(datastore.json(), default=str))
        file.flush()
        stack.pop_all()
    return file


def _approved(datastore: Datastore) -> dict[str, str]:
    """Path of an image -> of the label that a reviewer approved in place of its final one."""
    paths = {}
    for image_id in labelled_images(datastore):
        tag = tag_that_counts(label_infos(datastore, image_id))
        if tag not in (None, FINAL):
            label_id = label_ids(datastore, image_id).get(tag, "")
            paths[datastore.get_image_uri(image_id)] = datastore.get_label_uri(label_id, tag)
    return paths
