"""How well a proposal fits a reference, and the baseline it must beat."""

import numpy as np

from slmsam2.errors import GridError, PromptError


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


def occupied_slices(mask: np.ndarray, axis: int) -> np.ndarray:
    """Ascending numbers of the slices along `axis` on which `mask` (I, J, K) is not empty."""
    others = tuple(other for other in range(mask.ndim) if other != axis)
    return np.flatnonzero(mask.any(axis=others))


def largest_slice(mask: np.ndarray, axis: int) -> int:
    """Slice number along `axis` on which `mask` (I, J, K) has its largest area; the lowest of equals.

    Raises:
        PromptError: the mask is empty.
    """
    area = np.count_nonzero(mask, axis=tuple(other for other in range(mask.ndim) if other != axis))
    if not area.any():
        raise PromptError("The mask is empty: it has no slice to paint.")
    return int(area.argmax())


def only_slice(mask: np.ndarray, axis: int, index: int) -> np.ndarray:
    """What a user who paints one slice gives: `mask` (I, J, K) on slice `index` of `axis`, zero elsewhere."""
    painted = np.zeros_like(mask)
    where = tuple(index if dim == axis else slice(None) for dim in range(mask.ndim))
    painted[where] = mask[where]
    return painted


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
