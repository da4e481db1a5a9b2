"""Which plane across the slices to correct: a sagittal or coronal one of what was found on axial slices, say.

Such a plane shows a structure from end to end, and how it changes on the way. The one that shows most of what is
expected to be wrong is suggested: on 66 structures of ten volumes a first correction there gained more than one of the
suggested slice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from slmsam2.engine.regions import Region

LEAST_SLICES = 2  # on fewer, a plane across them shows a line


def plane_across(
    masks: np.ndarray,
    lacks: np.ndarray,
    region: Region,
    spacing: tuple[float, float],
    given: Mapping[int, Collection[int]],
) -> tuple[int, int] | None:
    """The row or column of a stack (S, H, W) whose plane shows most of what is expected to be wrong, in mm².

    What is near a plane that was given counts less: nothing on it, all from half of the structure's extent on.

    Args:
        masks: bool (S, n, n), what was found, in ``region``.
        lacks: float (S), one less the Dice coefficient that is expected of each slice; 0 where it was given.
        region: where the masks lie on the slices.
        spacing: between rows and between columns, mm.
        given: dimension of the stack -> rows (1) and columns (2) that were given.

    Returns:
        Dimension and index; None where nothing is expected to be wrong, or on too few slices.
    """
    if np.count_nonzero((lacks > 0) & masks.any(axis=(1, 2))) < LEAST_SLICES:
        return None
    edges = {1: (region.top, region.bottom), 2: (region.left, region.right)}
    best, plane = 0.0, None
    for dimension, (low, high) in edges.items():
        samples = masks.shape[dimension]
        step = (high - low) / samples  # pixels
        lengths = np.count_nonzero(masks, axis=3 - dimension)  # (S, n), of each row or column
        shown = lacks @ lengths / (step * spacing[dimension - 1])  # up to a factor that both share
        places = low + (np.arange(samples) + 0.5) * step - 0.5
        extent = np.ptp(places[shown > 0]) + step
        for index in given.get(dimension, ()):
            shown *= np.minimum(2 * np.abs(places - index) / extent, 1)
        if shown.max() > best:
            best = float(shown.max())
            plane = dimension, min(max(round(float(places[shown.argmax()])), low), high - 1)
    return plane
