"""Labels as they were when a training began: what people save meanwhile is for the next one."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np


class LabelStore:
    """Keeps labels, compressed, in a file without a name, which is gone when the process is, however that ends.

    Args:
        folder: on a disk with some room; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def keep(self, label: np.ndarray) -> KeptLabel:
        """Keep a label, integers of any shape.

        Raises:
            OSError: the disk is full.
        """
        packed = zlib.compress(np.ascontiguousarray(label).tobytes(), 1)
        start = self._file.seek(0, 2)
        self._file.write(packed)
        return KeptLabel(self._file, start, len(packed), label.dtype, label.shape)


@dataclass(frozen=True)
class KeptLabel:
    """Where a label lies in the file of a :class:`LabelStore`, and what it is made of."""

    file: IO[bytes]
    start: int
    length: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """The label, of its own dtype and shape."""
        self.file.seek(self.start)
        voxels = zlib.decompress(self.file.read(self.length))
        return np.frombuffer(voxels, self.dtype).reshape(self.shape)
