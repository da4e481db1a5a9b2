"""What the structures beside it tell of a structure: its other side, and its neighbours in a series."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import find_objects

from slmsam2.metrics import occupied_slices
from slmsam2.prompts import Kin, kin_of
from slmsam2.volume import Exemplar, SliceView, exemplar_of

LEAST_SLICES = 4  # in a row, of a structure that may be whole


def exemplars_of_kin(
    label: np.ndarray, view: SliceView, names: Mapping[str, int], wanted: Collection[str]
) -> dict[str, tuple[Exemplar, ...]]:
    """Structures that are whole in a label as exemplars of those that are alike and only begun.

    Args:
        label: integers (S, H, W); 0 is background.
        view: of it.
        names: name -> value of everything in it.
        wanted: names of those that are to be propagated.

    Returns:
        Name -> its kin, moved to its side; none for those that have none.
    """
    kin = {name: kin_of(name, names.keys() - {name}) for name in wanted}
    alike = {one for ones in kin.values() for one in ones}
    if not alike:
        return {}
    boxes = find_objects(label, max_label=max(names[one.name] for one in alike))
    whole = {one: _as_kin(label, names[one.name], boxes, view, one) for one in alike}
    found = {name: tuple(exemplar for one in ones if (exemplar := whole[one])) for name, ones in kin.items()}
    return {name: ones for name, ones in found.items() if ones}


def _as_kin(
    label: np.ndarray, value: int, boxes: Sequence[tuple[slice, ...] | None], view: SliceView, kin: Kin
) -> Exemplar | None:
    """A structure of the label, if it is whole: on enough slices, and without a gap.

    Where the image ends, both of a pair do; of a series one is cut off and the next one is not.
    """
    box = boxes[value - 1]
    if box is None:
        return None
    around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    mask = label[around] == value
    count = box[0].stop - box[0].start
    if count < LEAST_SLICES or len(occupied_slices(mask, axis=0)) < count:
        return None
    exemplar = exemplar_of(mask, np.ones(len(mask), bool), view, cut_off=kin.mirrored)
    if exemplar is None:
        return None
    return replace(exemplar.mirrored(), kin="twin") if kin.mirrored else replace(exemplar, kin="neighbour")
