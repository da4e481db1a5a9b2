"""From mask logits to a label volume in which everything the user painted stays."""

from __future__ import annotations

import numpy as np

from slmsam2.engine.propagation import Prompts, Propagation


def label_stack(propagation: Propagation, prompts: Prompts, given: np.ndarray) -> np.ndarray:
    """Decide each voxel's structure.

    The structure with the highest logit wins where it is positive. A painted slice is taken as it is for its
    structure; voxels painted for another structure, propagated or not, are never overwritten.

    Args:
        propagation: of S slices and O objects whose ids are label values.
        prompts: {value: {slice: bool (H, W)}}, as propagated.
        given: integers (S, H, W), the label that came with the request.

    Returns:
        (S, H, W) of ``given``'s dtype.
    """
    values = np.array(propagation.objects, dtype=given.dtype)
    result = np.where(np.isin(given, values), 0, given)
    for index in range(len(given)):
        painted = {value: masks[index] for value, masks in prompts.items() if index in masks}
        if propagation.visited[index].any():
            result[index] = _decide(propagation, index, values, painted, result[index])
        for value, mask in painted.items():
            result[index][mask] = value
    return result


def _decide(
    propagation: Propagation,
    index: int,
    values: np.ndarray,
    painted: dict[int, np.ndarray],
    background: np.ndarray,
) -> np.ndarray:
    """One slice (H, W): the best of the structures that are not painted on it, over ``background``."""
    columns = [c for c, value in enumerate(propagation.objects) if value not in painted]
    free = background == 0
    if not columns:
        return background
    logits = propagation.slice_logits(index)[columns].numpy()
    best = values[columns][logits.argmax(axis=0)]
    return np.where(free & (logits.max(axis=0) > 0), best, background)
