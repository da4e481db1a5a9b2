"""The result as a file, in the form the client asked for."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from slmsam2.server.requests.parameters import ReplyFormat
from slmsam2.volume import Volume, write_label


def write_result(array: np.ndarray, image: Volume, reply: ReplyFormat) -> str:
    """Write a labelmap with the image's own geometry to a new temporary file; whoever sends it removes it.

    It lies in a folder of its own: MONAI Label's client saves an answer under the file's name in the folder for
    temporary files, which on the server's machine is the server's, too: when the server removed its file, the client
    lost what it had got.

    MONAI Label's ``Writer`` is no help: by nibabel it resamples (and fails on) volumes stored turned, by ITK
    it has no NIfTI with shear (a CT with gantry tilt).

    Args:
        array: (I, J, K) integers on the image's grid.

    Returns:
        Path of the file.

    Raises:
        VolumeError: the type that was asked for cannot hold its values.
        StorageError: the disk is full, or it cannot be written.
    """
    folder = Path(_folder().name)
    folder.mkdir(mode=0o700, exist_ok=True)  # systems clear up folders that nobody has used for days
    with tempfile.NamedTemporaryFile(suffix=reply.extension, dir=folder, delete=False) as file:
        path = Path(file.name)
    try:
        write_label(path, array, image, dtype=reply.dtype, compress=reply.compress)
    except Exception:
        path.unlink(missing_ok=True)
        raise
    return str(path)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """For this process's results, removed when it ends."""
    return tempfile.TemporaryDirectory(prefix="slmsam2_results_", ignore_cleanup_errors=True)
