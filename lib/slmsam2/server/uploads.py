"""What clients send, as files that last no longer than they are needed, also when the disk is full."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO, Any

from fastapi import UploadFile


def temporary(ending: str) -> closing[IO[Any]]:
    """A new file for reading and writing, in the end removed.

    Used as a context itself, Python's own stays when what was written last finds no space.
    """
    return closing(tempfile.NamedTemporaryFile(suffix=ending))


@contextmanager
def as_file(upload: UploadFile, ending: str) -> Iterator[str]:
    """Path of a file with an upload's content, while the context is open.

    Args:
        ending: of the file's name.

    Raises:
        OSError: there is no space for it.
    """
    with temporary(ending) as file:
        shutil.copyfileobj(upload.file, file)
        file.flush()
        yield file.name
