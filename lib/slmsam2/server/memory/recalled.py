"""Which of the remembered steps a structure goes on from: the last one, unless the viewer's undo went back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from slmsam2.prompts import Known
from slmsam2.server.memory.masks import bits_of
from slmsam2.server.memory.steps import Key, Memory, Unlike
from slmsam2.server.requests.painted import Painted
from slmsam2.server.requests.parameters import Parameters
from slmsam2.volume import SliceView, Volume


def recall_all(
    memory: Memory, keys: Mapping[str, Key], painted: Painted, image: Volume, parameters: Parameters
) -> dict[str, Known]:
    """Structure name -> the step that it goes on from, the one that what comes back differs least from.

    Where nothing comes back, as with clicks, or the request says all itself, the last steps count.

    Args:
        keys: where each structure is remembered.
        painted: what comes back.
    """
    if parameters.start_anew:
        return {}
    compared = parameters.prompt_slices is None and painted.label.any()
    unlike = _unlike(painted, image) if compared else lambda _: None
    found = {name: memory.recall(key, unlike(name)) for name, key in keys.items()}
    return {name: known for name, known in found.items() if known is not None}


def _unlike(painted: Painted, image: Volume) -> Callable[[str], Unlike]:
    """Of a structure's name: how unlike a mask it comes back, but for what lies over it."""
    covered = cache(painted.covered)

    def of(name: str) -> Unlike:
        @cache
        def bits(axis: int, order: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
            stack = SliceView(image.shape, image.affine, axis).to_stack
            came = painted.label == painted.structures[name]
            return bits_of(stack(came), order), bits_of(stack(came | ~covered()), order)

        return lambda axis, mask: mask.count_differing(*bits(axis, mask.order))

    return of
