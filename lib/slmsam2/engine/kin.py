"""What structures that are alike tell of one another: the two of a pair, and those of a series."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import find_objects

from slmsam2.engine.others import follow_others
from slmsam2.engine.propagation import Prompts
from slmsam2.engine.structures import Found
from slmsam2.prompts import Kin, kin_of
from slmsam2.volume import Exemplar, SliceView, exemplar_of

LEAST_SLICES = 4  # in a row, of a structure that may be whole
MOST_COUNTED = 2**16  # find_objects keeps a place for each value up to the largest
MOST_ABRUPT = 0.5  # of its largest area, its first or last one: else somebody has stopped painting there


def exemplars_of_kin(
    label: np.ndarray, view: SliceView, done: Mapping[str, int], wanted: Collection[str]
) -> dict[str, tuple[Exemplar, ...]]:
    """Structures that are whole in a label as exemplars of those that are alike and only begun.

    Args:
        label: integers (S, H, W); 0 is background.
        view: of it.
        done: name -> value of those that may be whole.
        wanted: names of those that are to be propagated.

    Returns:
        Name -> its kin, moved to its side; none for those that have none.
    """
    kin = {name: kin_of(name, done.keys() - {name}) for name in wanted}
    alike = {one for ones in kin.values() for one in ones}
    if not alike:
        return {}
    boxes = boxes_of(label, {done[one.name] for one in alike})
    whole = {}
    for one in alike:
        box = boxes.get(done[one.name])
        if box is not None:
            around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
            exemplar = _exemplar(label[around] == done[one.name], view, one)
            if exemplar is not None:
                whole[one] = replace(exemplar, kin="twin" if one.mirrored else "neighbour")
    found = {name: tuple(whole[one] for one in ones if one in whole) for name, ones in kin.items()}
    return {name: ones for name, ones in found.items() if ones}


def boxes_of(label: np.ndarray, values: Collection[int]) -> dict[int, tuple[slice, ...]]:
    """The smallest box around each of the values that a label, integers of any shape, holds."""
    counted = max((value for value in values if value <= MOST_COUNTED), default=0)
    boxes = find_objects(label, max_label=counted) if counted else []
    found = {value: boxes[value - 1] for value in values if value <= counted}
    for value in set(values) - found.keys():
        found[value] = next(iter(find_objects(label == value)), None)
    return {value: box for value, box in found.items() if box is not None}


def follow_each_other(
    found: Sequence[Found],
    prompts: Prompts,
    names: Mapping[str, int],
    view: SliceView,
    known: Collection[int],
) -> None:
    """Let structures that are alike, and were found by one request, vote on each other; in place.

    What was found is less than what a person made of it. So it counts only where nothing else is known, and for
    structures that were given on as many slices at most.

    Args:
        found: propagations whose objects are label values.
        prompts: {value: {slice: prompt}}, as propagated.
        names: name -> value of these.
        view: of the volume.
        known: values of structures that are known from others like them already.
    """
    kin: dict[int, list[Kin]] = {}
    for name, value in names.items():
        if value not in known:
            alike = kin_of(name, names.keys() - {name})
            kin[value] = [one for one in alike if len(prompts[names[one.name]]) >= len(prompts[value])]
    parts = {value: part for part in found for value in part.propagation.objects}
    whole = {}
    for one in {one for ones in kin.values() for one in ones}:
        exemplar = _exemplar(parts[names[one.name]].mask(names[one.name]), view, one)
        if exemplar is not None:
            whole[one] = exemplar.along(view.patient_axis)
    others = {value: [whole[one] for one in ones if one in whole] for value, ones in kin.items()}
    for part in found:
        follow_others(part.propagation, others, part.propagation.mask_spacing(view.spacing))


def _exemplar(mask: np.ndarray, view: SliceView, kin: Kin) -> Exemplar | None:
    """A structure, bool (S, h, w), as an exemplar of its kin, if it is whole: on enough slices, without a gap, and
    smaller at both ends.

    Where the image ends, both of a pair do; of a series one is cut off and the next one is not.
    """
    areas = np.count_nonzero(mask, axis=(1, 2))
    present = np.flatnonzero(areas)
    if len(present) < LEAST_SLICES or np.ptp(present) >= len(present):
        return None
    ends = [areas[index] for index in (present[0], present[-1]) if 0 < index < len(areas) - 1]
    if max(ends, default=0) > MOST_ABRUPT * areas.max():
        return None
    exemplar = exemplar_of(mask, np.ones(len(mask), bool), view, cut_off=kin.mirrored)
    return exemplar.mirrored() if exemplar and kin.mirrored else exemplar
