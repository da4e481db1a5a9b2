"""Memory that runs short, of the machine or a GPU: foreseen, made room for, or refused with a sentence.

A failed allocation is an error that can be answered. But Linux promises more memory than there is, and kills who takes
it: hence the look at what is left before a volume is read.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from slmsam2.engine import Workspace
from slmsam2.errors import MemoryShortageError, StorageError, TooLargeError, VolumeError

logger = logging.getLogger(__name__)

BYTES_PER_VOXEL = 8  # taken at least while an image and its label are worked on, of the image's voxels
MOST_KEPT = 2560 * 2**20
CGROUPS = Path("/sys/fs/cgroup")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KINDS = (MemoryError, RuntimeError, OSError, VolumeError)  # of errors that may be shortages
_SAYINGS = (
    "out of memory",
    "allocate memory",
    "alloc_failed",
    "bad_alloc",
    "failed to allocate",
    "not enough memory",
)
_Result = TypeVar("_Result")
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that memory ran short."""
    while error is not None:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _SAYINGS):
            return True
        error = error.__cause__
    return False


def is_for_now(error: BaseException) -> bool:
    """Whether an error says that memory ran short, or would: what failed may go well another time."""
    return isinstance(error, (TooLargeError, MemoryShortageError)) or is_shortage(error)


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that there is no space on a disk."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def refused_for_full_disk() -> StorageError:
    """What a user is told whose request needs space on a disk that has none."""
    return StorageError(
        "The server's disk is full, so this could not be done. Free some space on the server, then try again."
    )


def refused_for_shortage() -> MemoryShortageError:
    """What a user is told whose request does not fit."""
    return MemoryShortageError(
        "The server's memory does not suffice for this request at present. Nothing has changed. Try again when fewer "
        "people work, crop or resample the volume, or ask for fewer structures at a time."
    )


def with_less(work: Callable[[Workspace], _Result], workspace: Workspace) -> _Result:
    """Do something; when memory runs short, once more without anything that is kept for other requests.

    Args:
        work: gets the workspace to use: the one given, then one that keeps next to nothing.

    Raises:
        MemoryShortageError: it ran short again.
    """
    try:
        return work(workspace)
    except _KINDS as error:
        if not is_shortage(error):
            raise
        logger.warning("Memory ran short, so this is tried again with less: %s", error)
    # Not before here are the arrays of the failed attempt free: its error held them.
    make_room(workspace)
    try:
        return work(Workspace(0, 0, 0))
    except _KINDS as error:
        if not is_shortage(error):
            raise
        logger.warning("Memory ran short again: %s", error)
    make_room(workspace)
    raise refused_for_shortage()


def make_room(workspace: Workspace) -> None:
    """Drop what is kept for later requests, and give memory back to the system and the GPU."""
    workspace.clear()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    give_back()


def give_back() -> None:
    """Return to the system what is free: the GNU C library keeps it, for each thread apart, and so grows and grows."""
    if _trim is not None:
        _trim(0)


class _Room:
    """The memory of the machine, of which some is promised to what is being read.

    What is read shows in what is available only afterwards. So reads that do not fit side by side go one after the
    other, and a volume is refused by what is really left.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._promised = 0

    @contextmanager
    def promise(self, voxels: int, workspace: Workspace | None) -> Iterator[None]:
        needed = voxels * BYTES_PER_VOXEL
        with self._changed:
            while needed > available() - self._promised:
                if self._promised:
                    self._changed.wait()
                elif workspace is not None:
                    make_room(workspace)
                    workspace = None
                else:
                    raise _too_large(voxels)
            self._promised += needed
        try:
            yield
        finally:
            with self._changed:
                self._promised -= needed
                self._changed.notify_all()


_room = _Room()


def room_for(voxels: int, workspace: Workspace | None = None) -> AbstractContextManager[None]:
    """See to it that there is memory for a volume of so many voxels, which is read while the context is open.

    It may have to wait until others are read. A thread has one such context open at a time.

    Args:
        voxels: of the volume.
        workspace: is emptied if that is needed; None: nothing is.

    Raises:
        TooLargeError: there is not, even without what is kept for later requests.
    """
    return _room.promise(voxels, workspace)


def _too_large(voxels: int) -> TooLargeError:
    return TooLargeError(
        f"A volume of {voxels / 1e6:.0f} million voxels takes at least {voxels * BYTES_PER_VOXEL / 1e9:.1f} GB of "
        f"memory, and the server has {available() / 1e9:.1f} GB left. Try again when fewer people work, or crop or "
        "resample the volume."
    )


def default_bytes() -> int:
    """Bytes to keep for later requests where nothing else is said: a quarter of what there is now, within MOST_KEPT."""
    return min(MOST_KEPT, available() // 4)


def available() -> int:
    """Bytes that this process may still take: of the machine, of its container or service, of its address space."""
    left = [psutil.virtual_memory().available, *_of_groups()]
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        left.append(most - psutil.Process().memory_info().vms)
    return max(0, min(left))


def _of_groups() -> Iterator[int]:
    """What the control groups (version 2) of this process leave it, file contents that can be dropped included."""
    folder = CGROUPS / _own_group().lstrip("/")
    for group in (folder, *folder.parents):
        if not group.is_relative_to(CGROUPS):
            return
        try:
            most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
            facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        if most != "max":
            yield int(most) - int(used) + int(facts.get("inactive_file", 0))


def _own_group() -> str:
    """Path of this process's control group; "" where it has none."""
    try:
        return Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        return ""
