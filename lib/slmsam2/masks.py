"""Masks, slice by slice."""

import numpy as np

from slmsam2.errors import PromptError


def occupied_slices(mask: np.ndarray, axis: int) -> np.ndarray:
    """Ascending numbers of the slices along `axis` on which `mask` (I, J, K) is not empty."""
    return np.flatnonzero(mask.any(axis=_others(mask, axis)))


def areas_along(mask: np.ndarray, axis: int) -> np.ndarray:
    """Number of pixels of `mask` (I, J, K) on each slice along `axis`."""
    areas: np.ndarray = np.count_nonzero(mask, axis=_others(mask, axis))
    return areas


def largest_slice(mask: np.ndarray, axis: int) -> int:
    """Slice number along `axis` on which `mask` (I, J, K) has its largest area; the lowest of equals.

    Raises:
        PromptError: the mask is empty.
    """
    area = areas_along(mask, axis)
    if not area.any():
        raise PromptError("The mask is empty: it has no slice to paint.")
    return int(area.argmax())


def only_slice(mask: np.ndarray, axis: int, index: int) -> np.ndarray:
    """What a user who paints one slice gives: `mask` (I, J, K) on slice `index` of `axis`, zero elsewhere."""
    painted = np.zeros_like(mask)
    where = tuple(index if dim == axis else slice(None) for dim in range(mask.ndim))
    painted[where] = mask[where]
    return painted


def _others(mask: np.ndarray, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(mask.ndim) if other != axis)
