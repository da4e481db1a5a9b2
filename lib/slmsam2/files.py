"""Files that are never half written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

from slmsam2.errors import StorageError

_TEMPORARY = re.compile(r"\..+\.\d+-\d+(\.[a-z.]+)?")


@contextlib.contextmanager
def staged(path: Path, write: Callable[[IO[bytes]], Any]) -> Iterator[Callable[[], None]]:
    """Write a file under a temporary name beside it and flush it to disk.

    Args:
        path: the file; its folder is made.
        write: gets the open file.

    Yields:
        What moves the file into place; what is not moved is removed at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        yield partial(_put_in_place, temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_path(path: Path, ending: str | None = None) -> Iterator[Path]:
    """The same for libraries that write a file by its name: it is flushed and moved into place at the end.

    Args:
        path: the file; its folder must be there.
        ending: by which the library knows the format; None: the last of the path's.

    Yields:
        The temporary name, which has the ending.
    """
    ending = path.suffix if ending is None else ending
    temporary = _beside(path, ending)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        _put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    flush_folder(path.parent)


def _beside(path: Path, ending: str = "") -> Path:
    """A temporary name beside a file, which :func:`is_temporary` knows."""
    # a name may have all the bytes there are
    short = hashlib.sha256(path.name.encode(errors="surrogatepass")).hexdigest()[:16]
    return path.with_name(f".{short}.{os.getpid()}-{threading.get_ident()}{ending}")


def write_whole(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file under a temporary name, flush it to disk, and move it into place.

    Args:
        path: the file; its folder is made.
        write: gets the open file.
    """
    with staged(path, write) as put_in_place:
        put_in_place()


def check_writable(path: Path, keep: Iterable[Path] = ()) -> None:
    """Find out before the work whether its result can be written.

    Args:
        path: the file; its folder need not be there yet, and is not made.
        keep: files that are read for it, or written as well.

    Raises:
        StorageError: it cannot be written, is a folder, or is one of those files.
    """
    if any(other.resolve() == path.resolve() for other in keep):
        raise StorageError(f"'{path}' is needed for something else: write to another file.")
    if path.is_dir():
        raise StorageError(f"'{path}' is a folder: name a file.")
    try:
        with tempfile.TemporaryFile(
            dir=next(folder for folder in path.absolute().parents if folder.exists())
        ):
            pass
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written ({error.strerror}): choose another place.") from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece."""
    write_whole(path, lambda stream: stream.write(json.dumps(content, indent=1).encode()))


def stamp_of(path: Path) -> str:
    """By which a change of a file is noticed: size and modification time.

    Raises:
        OSError: it is not there.
    """
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def content_of(path: Path) -> str:
    """A digest of what a file holds, or the files in a folder, whatever they are called; they are read only once.

    Raises:
        OSError: it is not there.
    """
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return _content(tuple((file, stamp_of(file)) for file in files))


@lru_cache(maxsize=64)
def _content(files: tuple[tuple[Path, str], ...]) -> str:
    digest = hashlib.sha256()
    for file, _ in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk: a file that was moved there stays after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_temporary(path: str | Path) -> bool:
    """Whether a file is one that is being written here, by its name."""
    return _TEMPORARY.fullmatch(Path(path).name) is not None


def remove_temporary(folder: Path) -> None:
    """Remove what a killed process left behind in a folder; nobody may be writing there."""
    for path in folder.glob(".*"):
        if is_temporary(path):
            path.unlink(missing_ok=True)
