"""Which values a label volume holds, and where.

Everything goes through memory in the order in which it lies there: many files are stored with the first axis fastest,
and numpy's boolean indices, ``np.unique`` and ``np.isin`` take ten times as long for those.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

PART = 2**20  # voxels at a time, for the memory that np.isin and indices take


def present_values(label: np.ndarray) -> list[int]:
    """The values of a label other than 0, integers of any shape, ascending."""
    voxels = label.ravel(order="K")
    if label.dtype in (np.uint8, np.uint16):  # few enough for a table, which takes a tenth of sorting
        seen = np.zeros(np.iinfo(label.dtype).max + 1, bool)
        for first in range(0, label.size, PART):
            seen[voxels[first : first + PART]] = True
        return [int(value) for value in np.flatnonzero(seen) if value]
    return [int(value) for value in np.unique(voxels[voxels != 0])]


def where_one_of(label: np.ndarray, values: Collection[int]) -> np.ndarray:
    """Where a label, integers of any shape, has one of the values: bool of that shape, stored alike."""
    if len(values) == 1:
        return label == next(iter(values))
    result = np.empty_like(label, dtype=bool)
    voxels, flags = label.ravel(order="K"), result.ravel(order="K")  # the latter a view
    for first in range(0, label.size, PART):
        part = slice(first, first + PART)
        flags[part] = np.isin(voxels[part], list(values))
    return result
