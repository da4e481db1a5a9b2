"""What a propagation found, in terms of the image as it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slmsam2.engine.propagation import Prompts, Propagation
from slmsam2.engine.structures import Found
from slmsam2.prompts import Prompt
from slmsam2.volume import SliceView


def structure_reports(
    found: Sequence[Found], prompts: Prompts, result: np.ndarray, names: dict[str, int], view: SliceView
) -> dict[str, dict[str, Any]]:
    """Facts per structure, ready for JSON.

    Args:
        found: what the network said.
        prompts: {value: {stack slice: mask}}.
        result: the final label stack, integers (S, H, W).
        names: name -> value of the structures that were propagated.
        view: for slice numbers as stored.

    Returns:
        name -> value; painted, first, last (slice numbers; the latter two None when nothing is there); found and
        empty (numbers of slices that the propagation visited); stopped, per direction: slice and reason;
        redone: the slices computed for this request, the others being as before; confidence: slice -> 0..1;
        region: [top, bottom, left, right] of the part of the (canonically turned) slices that was looked at.
    """
    parts = {value: part for part in found for value in part.propagation.objects}
    return {
        name: _structure_report(parts[value], prompts[value], result, value, view)
        for name, value in names.items()
    }


def _structure_report(
    part: Found, painted: Mapping[int, Prompt], result: np.ndarray, value: int, view: SliceView
) -> dict[str, Any]:
    propagation, region = part.propagation, part.region
    column = propagation.objects.index(value)
    visited = np.flatnonzero(propagation.visited[:, column].numpy())
    present = np.array([index for index, labels in enumerate(result) if (labels == value).any()], int)
    found = np.intersect1d(visited, present)
    stored = sorted(view.stored_index(int(s)) for s in present)
    upward_is_forward = view.stored_index(0) == 0
    directions = (
        {"up": "forward", "down": "backward"} if upward_is_forward else {"up": "backward", "down": "forward"}
    )
    return {
        "value": value,
        "painted": sorted(view.stored_index(s) for s in painted),
        "first": stored[0] if stored else None,
        "last": stored[-1] if stored else None,
        "found": len(found),
        "empty": len(visited) - len(found),
        "stopped": {
            directions[way]: {"slice": view.stored_index(stop.slice), "reason": stop.reason}
            for way, stop in propagation.stops[value].items()
        },
        "redone": sorted(view.stored_index(s) for s in propagation.redone[value]),
        "region": [region.top, region.bottom, region.left, region.right],
        "confidence": {
            view.stored_index(int(s)): 1.0
            if int(s) in painted
            else round(_confidence(propagation, int(s), column), 4)
            for s in visited
        },
    }


def _confidence(propagation: Propagation, index: int, column: int) -> float:
    """How sure the network is of a slice, 0..1.

    Where it found the structure: the probability that it is there times the overlap it expects of its mask. Where
    it did not: the probability that it is absent.
    """
    present = float(propagation.object_score[index, column].sigmoid())
    overlap = float(propagation.iou[index, column].clamp(0, 1))
    return present * overlap if present > 0.5 else 1.0 - present


def suggested_slice(reports: dict[str, dict[str, Any]]) -> int | None:
    """The slice whose correction should help most: the least confident one that is not painted."""
    candidates = [
        (sureness, index)
        for report in reports.values()
        for index, sureness in report["confidence"].items()
        if index not in report["painted"]
    ]
    return min(candidates)[1] if candidates else None
