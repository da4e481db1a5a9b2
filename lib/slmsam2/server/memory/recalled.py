"""Which of the remembered steps a structure goes on from: the last one, unless the viewer's undo went back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from slmsam2.prompts import Known, differing
from slmsam2.server.memory.steps import Key, Memory
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


def _unlike(painted: Painted, image: Volume) -> Callable[[str], Callable[[Known], tuple[int, int]]]:
    """Of a structure's name: how unlike a step it comes back, see :meth:`Memory.recall`."""
    covered = cache(painted.covered)

    def of(name: str) -> Callable[[Known], tuple[int, int]]:
        came = cache(lambda: painted.label == painted.structures[name])

        def unlike(known: Known) -> tuple[int, int]:
            view = SliceView(image.shape, image.affine, known.axis)
            stack = view.to_stack(came())
            if stack.shape != known.returned.shape:
                return stack.size, len(stack)
            differs = differing(stack, view.to_stack(covered()), known.returned)
            return np.count_nonzero(differs), np.count_nonzero(differs.any(axis=(1, 2)))

        return unlike

    return of
