"""From mask logits to a label volume in which everything the user painted stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slmsam2.engine.propagation import Prompts
from slmsam2.engine.structures import Found
from slmsam2.prompts import Marks, Prompt


def write_labels(found: Sequence[Found], prompts: Prompts, given: np.ndarray, result: np.ndarray) -> None:
    """Decide each voxel's structure and write it into ``result``.

    The structure with the highest logit wins where it is positive. A painted slice is taken as it is for its
    structure, a marked pixel as marked; voxels painted for another structure, propagated or not, are never
    overwritten.

    Args:
        found: propagations whose objects are label values.
        prompts: {value: {slice: bool (H, W), or marks}}, as propagated.
        given: integers (S, H, W), the label that came with the request.
        result: (S, H, W) of ``given``'s dtype, all of it written.
    """
    for index in range(len(given)):
        result[index] = np.where(np.isin(given[index], list(prompts)), 0, given[index])
        of_slice = {value: masks[index] for value, masks in prompts.items() if index in masks}
        painted = {value: mask for value, mask in of_slice.items() if isinstance(mask, np.ndarray)}
        for value, mask in painted.items():
            result[index][mask & (result[index] == 0)] = value
        best = np.zeros(given.shape[1:], np.float32)  # a structure needs a positive logit
        free = result[index] == 0
        for part in found:
            if not part.propagation.visited[index].any():
                continue
            for value, logits in part.slice_logits(index).items():
                if value not in painted:
                    _keep_marks(logits, of_slice.get(value))
                    wins = free & (logits > best)
                    result[index][wins] = value
                    best[wins] = logits[wins]


def _keep_marks(logits: np.ndarray, prompt: Prompt | None) -> None:
    """Make mask logits (H, W) say what was marked."""
    if isinstance(prompt, Marks):
        logits[prompt.inside] = np.inf
        logits[prompt.outside] = -np.inf
