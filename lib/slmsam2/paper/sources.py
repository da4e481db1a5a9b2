"""The files that a volume is read from, and whether they are still what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from slmsam2.paper.layout import Entry
from slmsam2.paper.sidecar import sidecar_path


def stamp_of(entry: Entry) -> str:
    """A digest of the place, size and time of change of all files of a volume and its masks; nothing is read."""
    digest = hashlib.sha256()
    for path in _files_of(entry):
        facts = path.stat()
        digest.update(f"{path.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def digest_of(entry: Entry) -> str:
    """A digest of the names and contents of all files of a volume and its masks, wherever they lie."""
    digest = hashlib.sha256()
    for path in _files_of(entry):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\0".encode())
    return digest.hexdigest()


def _files_of(entry: Entry) -> Iterator[Path]:
    for place in (entry.image, entry.mask):
        if place is not None and place.is_dir():
            yield from sorted(path for path in place.iterdir() if path.is_file())
        elif place is not None:
            yield place
            if place.suffix.lower() == ".mhd":  # its voxels are in a file beside it
                yield from sorted(path for path in place.parent.glob("*raw") if path.stem == place.stem)
    sidecar = sidecar_path(entry.image.parent, entry.name)
    if sidecar is not None:
        yield sidecar
