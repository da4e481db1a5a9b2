"""Images that nobody can label, since their files are damaged."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import TooLargeError, VolumeError
from slmsam2.server.datastore.inspection import inspect, seems_whole
from slmsam2.server.running.shortage import is_shortage, room_for
from slmsam2.volume import read_volume

logger = logging.getLogger(__name__)


def is_damaged(datastore: Datastore, image: str) -> bool:
    """Whether an image's file is on this machine and damaged; the log says so once.

    A look at the header is enough for those that are not.
    """
    if not isinstance(datastore, LocalDatastore):
        return False
    path = Path(LocalDatastore.get_image_uri(datastore, image))  # an archive's own method would fetch it
    try:
        stat = path.stat()
        return path.is_file() and _is_damaged(path, stat.st_size, stat.st_mtime_ns)
    except (OSError, VolumeError):  # gone, or no room to read it at present
        return False


@functools.lru_cache(maxsize=10_000)
def _is_damaged(path: Path, size: int, modified: int) -> bool:
    """Whether a file is damaged, found out once for each size and time of modification (ns)."""
    if seems_whole(path):
        return False
    try:
        with room_for(inspect(path)):
            read_volume(path)
    except VolumeError as error:
        if isinstance(error, TooLargeError) or is_shortage(error):
            raise
        logger.warning("Next Sample hands %s to nobody: %s", path.name, error)
        return True
    return False
