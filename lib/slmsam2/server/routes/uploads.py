"""What clients send, as files that last no longer than they are needed, also when the disk is full."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any

from fastapi import UploadFile

from slmsam2.server.requests.received import PACKED
from slmsam2.server.routes.unpacking import unzip


def temporary(ending: str) -> closing[IO[Any]]:
    """A new file for reading and writing, in the end removed.

    Used as a context itself, Python's own stays when what was written last finds no space.
    """
    return closing(tempfile.NamedTemporaryFile(suffix=ending))


@contextmanager
def as_file(upload: UploadFile, ending: str, most_bytes: int) -> Iterator[str]:
    """Path of a file with an upload's content, while the context is open.

    A raw label is unpacked, if it comes so; what other packed files hold, those say who read them.

    Args:
        ending: of the upload's name; the file has it, too, without the one of a packed raw label.
        most_bytes: bound on what a packed raw label holds.

    Raises:
        OSError: there is no space for it.
        VolumeError: it cannot be unpacked.
    """
    packed = ending in PACKED
    with temporary(ending.removesuffix(".gz") if packed else ending) as file:
        if packed:
            unzip(upload.file, file, most_bytes)
        else:
            shutil.copyfileobj(upload.file, file)
        file.flush()
        yield file.name
