"""What is known of a structure from others like it: its usual ends, areas and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slmsam2.engine.lengths import LEAST_VOLUMES, alike, end, resize, usual_in
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.shapes import usual_shape
from slmsam2.volume import Sections


def follow_others(
    result: Propagation,
    others: Mapping[int, Sequence[Sections]],
    spacing: tuple[float, float, float],
) -> None:
    """Leave nothing of a structure beyond its usual ends, and bring masks nearer to its usual areas and shape.

    The former two need LEAST_VOLUMES, or the other one of a pair in the same body. This is done in place. What was
    given stays; a direction in which something was given beyond the usual end goes on.

    Args:
        result: says in ``stops`` and ``told_by_others`` what was done.
        others: object id -> the object in other volumes, or what is like it in this one, along these slices.
        spacing: between slices, and of the mask's rows and columns, mm.
    """
    pixel = spacing[1] * spacing[2]
    for column, obj in enumerate(result.objects):
        known = others.get(obj, ())
        if not known or not alike(known):
            continue
        logits = result.low_res[:, column].numpy()
        areas = np.count_nonzero(logits > 0, axis=(1, 2)) * pixel
        given = {index for span in result.spans[obj] for index in (span.low, span.high) if index is not None}
        usual = usual_in(known, areas, given, spacing[0])
        if usual is None:
            continue
        vote = usual_shape(usual, logits > 0, spacing)
        if len(known) >= LEAST_VOLUMES or any(one.kin == "twin" for one in known):
            result.told_by_others.add(obj)
            result.stops[obj] |= end(logits, areas, given, usual)
            resize(logits, areas, given, usual, pixel)
        if vote is not None:
            result.told_by_others.add(obj)
            free = [index for index in range(len(logits)) if index not in given]
            logits[free] += vote.logits[free]
            result.likeness[obj] = vote.agreement(logits > 0)
