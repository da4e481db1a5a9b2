"""What is given of a structure in several planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from slmsam2.prompts.marks import Prompt

Planes = Mapping[int, Sequence[int]]
"""Of a stack (S, H, W): dimension -> slices (0), rows (1), columns (2)."""

Across = Mapping[int, Mapping[int, np.ndarray]]
"""Of a stack (S, H, W): {dimension 1 or 2: {row or column: mask, bool (S, W) or (S, H)}}."""


def masks_across(mask: np.ndarray, planes: Mapping[int, Sequence[int]]) -> dict[int, dict[int, np.ndarray]]:
    """What a structure, bool (S, H, W), is like on rows (1) and columns (2) of these numbers."""
    return {
        dimension: {index: mask.take(index, dimension) for index in sorted(set(planes[dimension]))}
        for dimension in (1, 2)
        if planes.get(dimension)
    }


@dataclass(frozen=True, eq=False)
class Given:
    """What is given of a structure.

    Attributes:
        slices: {slice: prompt}.
        across: masks on rows and columns of the stack.
    """

    slices: dict[int, Prompt]
    across: Across = field(default_factory=dict)
