"""Segments of one name in a label that is saved: they are one structure, as they are for an inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.prompts import counts_by_order, named_pairs
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.requests.parameters import EXTENSIONS
from slmsam2.server.running.shortage import room_for
from slmsam2.values import present_values
from slmsam2.volume import read_label, write_label


def join_repeated(path: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Give segments of one name one value in a label file, that of the first, and one entry in the list of names.

    3D Slicer's module finds the segment for a result by its id: beside one that was added or renamed by hand it makes a
    second of that name. Of the two values only one could have the name; the other was a structure without.

    Args:
        path: the label, changed in place; files of other kinds than a client of MONAI Label saves stay as they are.
        info: what is to be saved with it.

    Returns:
        The same, with ``label_info`` as it is for the file now: each name once, with its value in the file.

    Raises:
        VolumeError: the label cannot be read.
    """
    listed = info.get("label_info")
    entries = [one for one in listed if _named(one)] if isinstance(listed, list) else []
    names = [one["name"] for one in entries]
    if len(set(names)) == len(names) or not path.name.endswith(EXTENSIONS):
        return info
    with room_for(inspect(path)):
        label = read_label(path)
        values = [next(named_pairs([one]))[1] for one in entries]
        if counts_by_order(values, present_values(label.array)):
            values = list(range(1, len(entries) + 1))
        wide = np.promote_types(label.array.dtype, np.min_scalar_type(max(values)))
        array = label.array.astype(wide)
        kept: dict[str, tuple[int, dict[str, Any]]] = {}
        for name, value, entry in zip(names, values, entries, strict=True):
            if name in kept:
                array[label.array == value] = kept[name][0]
            else:
                kept[name] = (value, entry)
        write_label(path, array, label)
    key = "id" if "id" in entries[0] else "idx"
    once = [
        {**{k: v for k, v in entry.items() if k not in ("id", "idx")}, key: value}
        for value, entry in kept.values()
    ]
    return {**info, "label_info": once}


def _named(entry: Any) -> bool:
    """Whether an entry of ``label_info`` says which value has which name."""
    return any(value and name for name, value in named_pairs([entry]))
