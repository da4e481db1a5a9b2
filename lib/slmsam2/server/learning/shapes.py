"""Whole structures of the labels submitted so far: their lengths, sizes and shapes help in the next image."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from cachetools import LRUCache

from slmsam2.files import write_whole
from slmsam2.prompts import kin_of, says_what
from slmsam2.server.learning.shelf import Shelf
from slmsam2.training.labelled import Case, CaseLoader
from slmsam2.volume import Exemplar, SliceView, exemplar_of

logger = logging.getLogger(__name__)

UNREADABLE = (OSError, ValueError, KeyError, TypeError, BadZipFile)
NAMES, CELLS, SIZE = "names", "cells", "size"  # in a file; the latter two are numbered as names are
LEFT_OUT = "Shapes of structures are left out: %s: %s"
MOST_BYTES = 128 * 1024**2  # of exemplars that are kept in memory

File = tuple[int, Path]  # when it was written (ns), and where it is


class SeenShapes:
    """Keeps the whole structures of submitted labels; they are the same for all weights.

    Args:
        folder: for a file per image.
    """

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder, ".npz")
        self._reading = threading.Lock()
        self._names: dict[File, list[str]] = {}
        self._exemplars: LRUCache[tuple[File, str], Exemplar | None] = LRUCache(
            MOST_BYTES, getsizeof=lambda one: one.cells.nbytes if one else 0
        )

    def known(self, names: Collection[str], image_id: str | None) -> dict[str, tuple[Exemplar, ...]]:
        """Structure -> what it is like in each volume but that of an image, of those named here.

        A volume in which it was not seen whole tells what the other of the pair, or its neighbour in a series, is like.
        """
        with self._reading:
            self._look_for_files()
            volumes = [file for file in self._names if not self._shelf.is_of(file[1], image_id)]
            found = {name: [self._alike(file, name) for file in volumes] for name in names}
        return {name: tuple(one for one in ones if one is not None) for name, ones in found.items()}

    def volumes(self) -> dict[str, int]:
        """Structure -> in how many submitted volumes it was seen whole."""
        with self._reading:
            self._look_for_files()
            return dict(Counter(chain.from_iterable(self._names.values())))

    def _look_for_files(self) -> None:
        self._names = {
            file: self._names[file] if file in self._names else _names_in(file[1])
            for file in self._shelf.files()
        }

    def _alike(self, file: File, name: str) -> Exemplar | None:
        """The structure in one volume, or what is most like it there."""
        if name in self._names[file]:
            return self._exemplar(file, name)
        for kin in kin_of(name, self._names[file])[:1]:
            exemplar = self._exemplar(file, kin.name)
            return exemplar.mirrored() if exemplar and kin.mirrored else exemplar
        return None

    def _exemplar(self, file: File, name: str) -> Exemplar | None:
        """One of the structures in a volume."""
        if (file, name) not in self._exemplars:
            self._exemplars[file, name] = _exemplar_in(file[1], self._names[file].index(name))
        return self._exemplars[file, name]

    def to_learn(self, labelled: Mapping[str, str], changed: Collection[str]) -> list[str]:
        """Forget images that are not labelled any more, or otherwise; the ones to learn from now."""
        self._shelf.clear_up(labelled)
        return self._shelf.to_learn(labelled, changed)

    def learn(self, case: Case, load: CaseLoader) -> None:
        """Keep the structures of one label whose names say what they are."""
        image, label = load(case)
        found = {}
        for name, one in case.structures.items():
            if not says_what(name):
                continue
            view = SliceView(image.shape, image.affine, one.axis)
            exemplar = exemplar_of(view.to_stack(label == one.value), one.known, view)
            if exemplar is not None:
                found[name] = exemplar
        arrays = {NAMES: np.array(list(found), dtype=str)}
        for number, exemplar in enumerate(found.values()):
            arrays |= {f"{CELLS}{number}": exemplar.cells, f"{SIZE}{number}": np.array(exemplar.size)}
        path = self._shelf.path_of(case.image_id, case.submission.mark)
        write_whole(path, lambda stream: np.savez_compressed(stream, **arrays))


def _names_in(file: Path) -> list[str]:
    """Of the structures of one image; none, with a warning, when the file cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return [str(name) for name in content[NAMES]]
    except UNREADABLE as error:
        logger.warning(LEFT_OUT, file, error)
        return []


def _exemplar_in(file: Path, number: int) -> Exemplar | None:
    """One of them; None, with a warning, when it cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as content:
            cells, size = content[f"{CELLS}{number}"], content[f"{SIZE}{number}"]
        x, y, z = (float(mm) for mm in size)
        if cells.ndim != 3 or cells.dtype != np.uint8 or not cells.any() or min(x, y, z) <= 0:
            raise ValueError("that is no structure")
        return Exemplar(cells, (x, y, z))
    except UNREADABLE as error:
        logger.warning(LEFT_OUT, file, error)
        return None
