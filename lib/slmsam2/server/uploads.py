"""What clients send, as files that last no longer than they are needed, also when the disk is full."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import UploadFile


@contextmanager
def as_file(upload: UploadFile, ending: str) -> Iterator[str]:
    """Path of a file with an upload's content, while the context is open.

    Args:
        ending: of the file's name.

    Raises:
        OSError: there is no space for it.
    """
    with tempfile.NamedTemporaryFile(suffix=ending) as file:
        shutil.copyfileobj(upload.file, file)
        file.flush()
        yield file.name
