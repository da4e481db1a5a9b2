"""Unpacking what clients send, in a way that an archive can do no harm."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from slmsam2.errors import VolumeError
from slmsam2.server.routes.names import leads_away
from slmsam2.server.running.shortage import is_full_disk

MOST_FILES = 20_000  # a large series has some thousand slices
MOST_LISTED = 8 * 2**20  # bytes of a zip's list of files
MOST_HEADER = 2**20  # bytes before a file in a tar: its header, with long names and the like
MOST_HEADERS = 64 * 2**20  # bytes of all headers of a tar
UNPACKERS: dict[bytes, Callable[[IO[bytes]], Any]] = {  # by how a file begins
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
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
Member = tuple[str, int, "IO[bytes] | None"]  # name, size in bytes, content; None: a folder


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
            two have one name; it holds more than is allowed. What was unpacked by then stays in the folder.
        OSError: there is no space for it.
    """
    count, listed, left = 0, 0, most_bytes
    try:
        for name, size, content in _members(archive, most_bytes):
            listed, left = listed + 1, left - size
            if left < 0 or listed > MOST_FILES:
                raise VolumeError(
                    f"The archive is too large: more than {most_bytes / 1e6:.0f} MB or {MOST_FILES} files unpacked. "
                    "Send less at a time, or raise the server's setting most_megabytes."
                )
            path = folder / _safe(name)
            if content is not None:
                _write(path, content, size)
                count += 1
    except DAMAGED as error:
        if is_full_disk(error):
            raise
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else error
        )  # without our paths
        raise VolumeError(
            f"The archive cannot be unpacked: {reason}. Send a plain .zip or .tar.gz."
        ) from error
    if not count:
        raise VolumeError("The archive is empty. Send the files of one image.")
    return count


def unzip(source: IO[bytes], target: IO[bytes], most_bytes: int) -> None:
    """Unpack one gzip file into another file.

    Raises:
        VolumeError: it is damaged, or holds more than is allowed.
    """
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as content:
            shutil.copyfileobj(_Bounded(content, most_bytes), target)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise VolumeError(f"The file cannot be unpacked: {error}. Send it again, or without gzip.") from error


def _members(archive: Path, most_bytes: int) -> Iterator[Member]:
    with archive.open("rb") as file:
        metered = _Metered(file, sys.maxsize)
        metered.allow(MOST_LISTED)
        if zipfile.is_zipfile(metered):
            yield from _zip_members(metered)
        else:
            file.seek(0)
            yield from _tar_members(_Metered(_unpacked(file), most_bytes + MOST_HEADERS))


def _zip_members(file: _Metered) -> Iterator[Member]:
    file.allow(MOST_LISTED)
    with zipfile.ZipFile(file) as opened:  # type: ignore[arg-type]
        file.allow(sys.maxsize)
        for info in opened.infolist():
            kind = info.external_attr >> 28  # of Unix: 8 is a plain file, 4 a folder, 0 not said
            if info.is_dir():
                yield info.filename, 0, None
            elif kind not in (0, 8):
                raise _is_link(info.filename)
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise VolumeError(  # Python unpacks others in one go, however much it is
                    "The archive is compressed in a way that is not taken here. Send a plain .zip or .tar.gz."
                )
            else:
                with opened.open(info) as content:
                    yield info.filename, info.file_size, content


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    """The bytes of a file that may be compressed, unpacked as they are read."""
    begin = file.read(6)
    file.seek(0)
    for magic, unpacker in UNPACKERS.items():
        if begin.startswith(magic):
            return unpacker(file)
    return file


def _tar_members(file: _Metered) -> Iterator[Member]:
    file.allow(MOST_HEADER)
    with _opened_tar(file) as opened:
        while (info := opened.next()) is not None:
            if info.isdir():
                yield info.name, 0, None
            elif not info.isreg() or info.issparse() or info.size < 0:
                raise _is_link(info.name)
            else:
                file.allow(info.size)
                yield info.name, info.size, opened.extractfile(info)
            opened.members.clear()  # type: ignore[attr-defined] # each has its own copy of what the headers say
            file.allow(MOST_HEADER)


def _opened_tar(file: _Metered) -> tarfile.TarFile:
    try:
        return tarfile.TarFile(fileobj=file)  # type: ignore[arg-type]
    except tarfile.ReadError as error:
        raise VolumeError("This is no archive. Send a .zip or .tar.gz, or leave out uncompress.") from error


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("xb")
    except FileExistsError as error:
        raise VolumeError(
            f"The archive has two files of one name, {path.name!r}. Pack the image's files anew."
        ) from error
    with stream:
        shutil.copyfileobj(_Bounded(content, size), stream)


class _Bounded:
    """Reads a member, and refuses one that is longer than its archive says, or than is allowed."""

    def __init__(self, content: IO[bytes] | gzip.GzipFile, size: int) -> None:
        self._content, self._left = content, size

    def read(self, length: int = -1) -> bytes:
        data = self._content.read(length)
        self._left -= len(data)
        if self._left < 0:
            raise VolumeError(
                "The archive holds more data than it declares, or than is allowed. Create it again."
            )
        return data


class _Metered:
    """A file of which only so much is read as was allowed last, and in all: what reads archives takes what they say.

    Args:
        file: can be read and sought in.
        most_bytes: bound on all that is read.
    """

    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        self._file, self._most, self._left = file, most_bytes, 0
        self.tell = file.tell

    def allow(self, most_bytes: int) -> None:
        """Let so many bytes be read from now on."""
        self._left = most_bytes

    def read(self, length: int = -1) -> bytes:
        left = min(self._left, self._most)
        data = self._file.read(left + 1 if length < 0 else length) if length <= left else b""
        if max(length, len(data)) > left:
            raise VolumeError(
                "The archive's headers, or its list of files, are too large. Pack the image's files anew."
            )
        self._left, self._most = self._left - len(data), self._most - len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def seekable(self) -> bool:
        return True
