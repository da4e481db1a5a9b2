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
from slmsam2.server.datastore.reviews import APPROVED, FINAL, as_earlier, review_of, without_review

PROPOSALS = DefaultLabelTag.ORIGINAL.value  # the server's own, made anew at each request
NOBODY = {None, "", "user-xyz"}  # what clients send for a user who has no name


def keep_earlier(
    index: LocalDatastoreModel,
    image_id: str,
    tag: str,
    info: Mapping[str, Any],
    label: Path,
    labels: dict[str, DataModel],
    only_approved: bool = False,
) -> None:
    """Give the label saved before a second name under a dated tag, before another one takes its place.

    One's own earlier label is not kept, unless it was approved, nor one with the same content, unless it is a final one
    that was approved. That one stays approved; a version that a reviewer writes over does not. The dated tag is
    ``<tag>_<when it was saved>`` (UTC), such as ``final_20260131093000``: MONAI Label's Reviewer takes what stands
    behind the line for a number.

    Args:
        index: of the datastore.
        info: what is saved with the new label.
        label: file of the new one.
        labels: of the image, by tag; the kept one is added.
        only_approved: whether a label that was not approved is kept elsewhere.

    Raises:
        OSError: it cannot be kept.
    """
    before = labels.get(tag)
    if before is None or tag == PROPOSALS:
        return
    approved = review_of(before.info).status == APPROVED
    if not approved and (only_approved or _same_person(before.info, info)):
        return
    path = Path(index.label_path(tag)) / f"{image_id}{before.ext}"
    stays_approved = approved and tag == FINAL
    if not path.is_file() or (not stays_approved and filecmp.cmp(path, label, shallow=False)):
        return
    earlier = _free_tag(index, tag, before.info.get("ts", 0), path)
    kept = Path(index.label_path(earlier)) / path.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, kept)
    except OSError:  # a file system without links
        write_whole(kept, lambda stream: stream.write(path.read_bytes()))
    flush_folder(kept.parent)
    flush_folder(kept.parent.parent)
    reviewed = as_earlier if tag == FINAL else without_review
    labels[earlier] = before.model_copy(update={"info": reviewed(before.info)}, deep=True)


def _same_person(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    who = [(info.get("user"), info.get("client_id")) for info in (before, now)]
    named = any(isinstance(name, str) and name not in NOBODY for name in who[0])  # clients can send anything
    return who[0] == who[1] and named


def _free_tag(index: LocalDatastoreModel, tag: str, saved: float, path: Path) -> str:
    """The dated tag, of some seconds later if a file of this name has it already.

    Args:
        saved: when the label was saved, seconds since 1970.
    """
    while True:
        free = f"{tag}_{time.strftime('%Y%m%d%H%M%S', time.gmtime(saved))}"
        if not (Path(index.label_path(free)) / path.name).exists():
            return free
        saved += 1
