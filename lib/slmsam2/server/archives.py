"""Unpacking what clients send, in a way that an archive can do no harm."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from slmsam2.errors import VolumeError
from slmsam2.server.names import leads_away

MOST_FILES = 20_000  # a large series has some thousand slices
DAMAGED = (  # what reading an archive may raise
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
Member = tuple[str, int, "IO[bytes]"]  # name, size in bytes, content


def unpack(archive: Path, folder: Path, most_bytes: int) -> int:
    """Unpack a zip or tar archive (also .gz, .bz2, .xz) into an existing folder.

    Args:
        archive: the file.
        folder: where to.
        most_bytes: bound on all files together, unpacked.

    Returns:
        Number of files.

    Raises:
        VolumeError: it is no such archive or damaged; a member is a link or a device, or would lie outside the folder;
            it holds more than is allowed. What was unpacked by then stays in the folder.
    """
    count, left = 0, most_bytes
    try:
        for name, size, content in _members(archive):
            count, left = count + 1, left - size
            if left < 0 or count > MOST_FILES:
                raise VolumeError(
                    f"The archive is too large: more than {most_bytes / 1e6:.0f} MB or {MOST_FILES} files unpacked. "
                    "Send less at a time, or raise the server's setting most_megabytes."
                )
            _write(folder / _safe(name), content, size)
    except DAMAGED as error:
        raise VolumeError(
            f"The archive cannot be unpacked: {error}. Send a plain .zip or .tar.gz."
        ) from error
    if not count:
        raise VolumeError("The archive is empty. Send the files of one image.")
    return count


def _members(archive: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
    elif tarfile.is_tarfile(archive):
        yield from _tar_members(archive)
    else:
        raise VolumeError("This is no archive. Send a .zip or .tar.gz, or leave out uncompress.")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                _safe(info.filename)
                continue
            kind = info.external_attr >> 28  # of Unix: 8 is a plain file, 0 not said
            if kind not in (0, 8):
                raise _is_link(info.filename)
            with opened.open(info) as content:
                yield info.filename, info.file_size, content


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                _safe(info.name)
                continue
            content = opened.extractfile(info) if info.isreg() else None
            if content is None:
                raise _is_link(info.name)
            yield info.name, info.size, content


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or leads_away(name) or ":" in name:
        raise VolumeError(
            f"The archive has a file {name!r} that would lie outside its folder. Pack the image's files anew."
        )
    return path


def _is_link(name: str) -> VolumeError:
    return VolumeError(
        f"{name!r} in the archive is a link or no plain file. Pack the image's files themselves."
    )


def _write(path: Path, content: IO[bytes], size: int) -> None:
    """Write one file, never more than it was said to hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        shutil.copyfileobj(_Bounded(content, size), stream)


class _Bounded:
    """Reads a member, and refuses one that is longer than its archive says."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content, self._left = content, size

    def read(self, length: int = -1) -> bytes:
        data = self._content.read(length)
        self._left -= len(data)
        if self._left < 0:
            raise VolumeError("The archive holds more than it says. Pack the image's files anew.")
        return data
