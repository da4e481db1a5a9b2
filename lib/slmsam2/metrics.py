"""How well a proposal fits a reference, and the baseline it must beat."""

import numpy as np

from slmsam2.errors import GridError
from slmsam2.masks import occupied_slices


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice coefficient 2|A∩B| / (|A|+|B|) of two masks (Dice, 1945).

    Args:
        a, b: arrays of one shape, any axis order; whatever is not zero belongs to the mask.

    Returns:
        0 (disjoint) to 1 (equal). Two empty masks agree: 1.

    Raises:
        GridError: the shapes differ.
    """
    if a.shape != b.shape:
        raise GridError(f"Dice needs two masks on one grid, but their shapes are {a.shape} and {b.shape}.")
    a, b = a.astype(bool), b.astype(bool)
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def repeat_slice(painted: np.ndarray, axis: int, extent: np.ndarray | None = None) -> np.ndarray:
    """The baseline of propagation: the painted slice, copied to other slices as it is.

    Args:
        painted: mask (I, J, K) with one painted slice along `axis`.
        extent: mask (I, J, K); copied only from the first to the last slice on which this is not empty.
            None: copied to every slice of the volume.

    Returns:
        bool mask (I, J, K).
    """
    others = tuple(other for other in range(painted.ndim) if other != axis)
    repeated = np.broadcast_to(painted.astype(bool).any(axis=axis, keepdims=True), painted.shape).copy()
    if extent is not None:
        slices = occupied_slices(extent, axis)
        inside = np.zeros(painted.shape[axis], dtype=bool)
        if slices.size:
            inside[slices[0] : slices[-1] + 1] = True
        repeated &= np.expand_dims(inside, others)
    return repeated
