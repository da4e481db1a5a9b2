"""Earlier versions of a label, kept when somebody else saves one for the same image."""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag

from slmsam2.files import flush_folder, write_whole

PROPOSALS = DefaultLabelTag.ORIGINAL.value  # the server's own, made anew at each request
NOBODY = {None, "", "user-xyz"}  # what clients send for a user who has no name


def keep_earlier(
    index: LocalDatastoreModel,
    image_id: str,
    tag: str,
    info: Mapping[str, Any],
    label: Path,
    labels: dict[str, DataModel],
) -> None:
    """Give the label saved before a second name under a dated tag, before another one takes its place.

    One's own earlier label is not kept, nor one with the same content. The dated tag is ``<tag>-<when it was saved>``
    (UTC), such as ``final-20260131-093000``.

    Args:
        index: of the datastore.
        info: what is saved with the new label.
        label: file of the new one.
        labels: of the image, by tag; the kept one is added.

    Raises:
        OSError: it cannot be kept.
    """
    before = labels.get(tag)
    if before is None or tag == PROPOSALS or _same_person(before.info, info):
        return
    path = Path(index.label_path(tag)) / f"{image_id}{before.ext}"
    if not path.is_file() or filecmp.cmp(path, label, shallow=False):
        return
    dated = _free_tag(
        index, f"{tag}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(before.info.get('ts', 0)))}", path
    )
    kept = Path(index.label_path(dated)) / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        write_whole(kept, lambda stream: stream.write(path.read_bytes()))
    flush_folder(kept.parent)
    flush_folder(kept.parent.parent)
    labels[dated] = before.model_copy(deep=True)


def _same_person(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    who = [(info.get("user"), info.get("client_id")) for info in (before, now)]
    return who[0] == who[1] and not set(who[0]) <= NOBODY


def _free_tag(index: LocalDatastoreModel, tag: str, path: Path) -> str:
    """The tag, with a number behind it if a file of this name has it already."""
    number, free = 1, tag
    while (Path(index.label_path(free)) / path.name).exists():
        number += 1
        free = f"{tag}-{number}"
    return free
