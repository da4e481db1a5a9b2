"""Who was handed which image lately, so that two annotators do not draw the same one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelException

from slmsam2.errors import SlmSam2Error
from slmsam2.server.datastore.folder import FolderDatastore

logger = logging.getLogger(__name__)

RECENT_SECONDS = (
    15 * 60
)  # an image counts as being worked on for this long after it was handed out or worked on
RENEWED_SECONDS = 60  # a hand-out is not renewed more often


@dataclass(frozen=True)
class Holder:
    """Who was handed an image last, and when (seconds since 1970)."""

    client: str | None
    since: float


class HandedOut:
    """The images that were handed out in the last minutes.

    MONAI Label writes into the image's info who was given it by which strategy, after the strategy has answered. That
    record is shared and outlives the server. A folder of studies notes it there before, so that servers that share the
    folder hand out different images; a record of our own is for datastores that cannot.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: dict[str, Holder] = {}

    def holders(self, images: Iterable[str], datastore: Datastore) -> dict[str, Holder]:
        """Those of the images that were handed out in the last minutes, each with its last holder."""
        with self._lock:
            self._forget_old()
            taken = dict(self._taken)
        found = {}
        for image in images:
            known = [*_recorded(datastore.get_image_info(image)), taken.get(image)]
            recent = [holder for holder in known if holder is not None and self._is_recent(holder)]
            if recent:
                found[image] = max(recent, key=lambda holder: holder.since)
        return found

    def take(self, image: str, client: str | None, datastore: Datastore) -> bool:
        """Hand an image to a client, unless another request, here or at another server, was faster."""
        with self._lock:
            self._forget_old()
            now = self._clock()
            if image in self._taken:
                return False
            if isinstance(datastore, FolderDatastore) and not datastore.hand_out(
                image, client, now, RECENT_SECONDS
            ):
                return False
            self._taken[image] = Holder(client, now)
            return True

    def renew(self, image: str, client: str | None) -> None:
        """Hand an image to the client that had it already."""
        with self._lock:
            self._taken[image] = Holder(client, self._clock())

    def go_on(self, image: str, client: str | None, datastore: Datastore, also: Mapping[str, Any]) -> None:
        """Take note that a client works on an image: where it was handed to them, nobody else gets it for longer.

        A datastore that cannot keep the note is no reason to fail.

        Args:
            also: what else is to be noted in the image's info; all is written at once.
        """
        try:
            holder = self.holders([image], datastore).get(image)
            theirs = holder is not None and holder.client == client
            due = theirs and self._clock() - holder.since >= RENEWED_SECONDS  # type: ignore[union-attr]
            if due:
                self.renew(image, client)
            if due and isinstance(datastore, FolderDatastore):
                datastore.note_holder(image, client, self._clock(), also)
            elif also:
                datastore.update_image_info(image, dict(also))
        except (MONAILabelException, SlmSam2Error, OSError) as error:
            logger.warning("The work on %s could not be noted: %s", image, error or type(error).__name__)

    def minutes_left(self, holders: Iterable[Holder]) -> int:
        """Minutes until the first of these images is free again, at least 1."""
        age = max(self._clock() - holder.since for holder in holders)
        return max(1, round((RECENT_SECONDS - age) / 60))

    def _is_recent(self, holder: Holder) -> bool:
        # the absolute value: a record from the future (a clock that was put back) must not block for ever
        return abs(self._clock() - holder.since) < RECENT_SECONDS

    def _forget_old(self) -> None:
        self._taken = {image: holder for image, holder in self._taken.items() if self._is_recent(holder)}


def _recorded(info: dict[str, Any]) -> list[Holder]:
    """What MONAI Label noted in an image's info; whatever else stands there is passed over."""
    notes = info.get("strategy")
    entries = notes.values() if isinstance(notes, dict) else []
    return [
        Holder(entry.get("client_id"), float(entry["ts"]))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("ts"), (int, float))
    ]
