"""The last step of each structure on disk, so that a restarted server, or another one over the same folder, goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.files import write_whole
from slmsam2.prompts import Known, Marks, Prompt
from slmsam2.server.learning.shelf import Shelf
from slmsam2.server.memory.masks import PackedMask

logger = logging.getLogger(__name__)

FORMAT = 1
ENDING = ".npz"
DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
)

Arrays = dict[str, np.ndarray]


class LastSteps:
    """One file per image, client and structure, named by digests of these; what is read from them is never run.

    What a structure looks like elsewhere is not kept: it is known without.

    Args:
        folder: made when the first step is written.
        most_bytes: of all files; the oldest go first.
        most_seconds: how long a file counts.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        most_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shelf = Shelf(folder, ENDING)
        self._most_bytes, self._most_seconds, self._clock = most_bytes, most_seconds, clock

    def stamp(self, *key: str) -> int | None:
        """When the step was written (ns); None: there is none."""
        try:
            written = self._path(key).stat().st_mtime_ns
        except OSError:
            return None
        return None if self._is_old(written) else written

    def read(self, *key: str) -> Known | None:
        """The step; None, with a warning, when its file cannot be read."""
        path = self._path(key)
        try:
            with np.load(path) as content:
                return _unpacked(json.loads(str(content["facts"])), content)
        except DAMAGED as error:
            logger.warning("Earlier work is not gone on with, %s cannot be read: %r", path, error)
            return None

    def write(self, known: Known, *key: str) -> int | None:
        """Keep a step in place of the one before. When it was written (ns); None, with a warning: it could not be."""
        path, arrays = self._path(key), _packed(known)
        try:
            write_whole(path, lambda stream: np.savez(stream, **arrays))
            self._clear_up()
            return path.stat().st_mtime_ns
        except OSError as error:
            logger.warning("Work is not kept over a restart, %s cannot be written: %s", path, error)
            return None

    def forget(self, *key: str) -> None:
        """Keep the step no longer."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("Earlier work stays on disk: %s", error)

    def move(self, image: str, client: str, to: str) -> None:
        """Keep all steps of a client on an image under the image's new name, in place of those that are there."""
        old, new = (self._path((name, client, "")) for name in (image, to))
        try:
            for path in old.parent.glob(f"{old.stem}*{ENDING}"):
                path.replace(new.with_name(path.name.replace(old.stem, new.stem, 1)))
        except OSError as error:
            logger.warning("Work is not known under the image's new name: %s", error)

    def _path(self, key: tuple[str, ...]) -> Path:
        image, client, structure = key
        return self._shelf.path_of(f"{image}\0{client}", structure)

    def _clear_up(self) -> None:
        """Remove what counts no longer, and the oldest files beyond the bound."""
        room = self._most_bytes
        for written, path in reversed(self._shelf.files()):
            with contextlib.suppress(FileNotFoundError):  # another server has removed it
                room -= path.stat().st_size
                if room < 0 or self._is_old(written):
                    path.unlink()

    def _is_old(self, written: int) -> bool:
        """Whether a file of that time (ns) counts no longer."""
        return written / 1e9 < self._clock() - self._most_seconds


def _packed(known: Known) -> Arrays:
    """Facts as JSON, and masks."""
    arrays: Arrays = {}

    def put(mask: np.ndarray) -> dict[str, Any]:
        packed, name = PackedMask.of(mask), f"mask_{len(arrays)}"
        arrays[name] = np.frombuffer(packed.bits, np.uint8)
        return {"bits": name, "shape": packed.shape, "order": packed.order}

    def prompt(one: Prompt) -> dict[str, Any]:
        if not isinstance(one, Marks):
            return {"mask": put(one)}
        base = None if one.base is None else put(one.base)
        return {
            "inside": put(one.inside),
            "outside": put(one.outside),
            "box": None if one.box is None else [float(edge) for edge in one.box],
            "base": base,
            "first": None if one.first is None else [int(index) for index in one.first],
            "loose": one.loose,
        }

    facts = {
        "format": FORMAT,
        "axis": known.axis,
        "given": put(known.given),
        "returned": put(known.returned),
        "prompts": [[int(index), prompt(one)] for index, one in known.prompts.items()],
        "region": None if known.region is None else [int(edge) for edge in known.region],
        "window": None if known.window is None else [float(number) for number in known.window],
        "plain": known.plain,
        "across": [
            [int(dimension), int(index), put(mask)]
            for dimension, planes in known.across.items()
            for index, mask in planes.items()
        ],
    }
    return {"facts": np.array(json.dumps(facts)), **arrays}


def _unpacked(facts: dict[str, Any], arrays: Any) -> Known:
    """What :func:`_packed` was made of.

    Raises:
        ValueError: of another format.
    """
    if facts["format"] != FORMAT:
        raise ValueError(f"format {facts['format']}")

    def mask(one: dict[str, Any]) -> np.ndarray:
        return PackedMask(arrays[one["bits"]].tobytes(), tuple(one["shape"]), tuple(one["order"])).unpack()

    def prompt(one: dict[str, Any]) -> Prompt:
        if "mask" in one:
            return mask(one["mask"])
        return Marks(
            mask(one["inside"]),
            mask(one["outside"]),
            one["box"] and tuple(one["box"]),
            one["base"] and mask(one["base"]),
            one["first"] and tuple(one["first"]),
            one["loose"],
        )

    across: dict[int, dict[int, np.ndarray]] = {}
    for dimension, index, one in facts.get("across", ()):  # steps before planes were known have none
        across.setdefault(dimension, {})[index] = mask(one)
    return Known(
        axis=facts["axis"],
        given=mask(facts["given"]),
        returned=mask(facts["returned"]),
        prompts={index: prompt(one) for index, one in facts["prompts"]},
        region=facts["region"] and tuple(facts["region"]),
        window=facts["window"] and tuple(facts["window"]),
        plain=facts["plain"],
        restored=True,
        across=across,
    )
