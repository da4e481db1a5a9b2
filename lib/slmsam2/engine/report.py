"""What a propagation found, in terms of the image as it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slmsam2.engine.confidence import Calibration, expected_dice, gains, slice_facts
from slmsam2.engine.propagation import Prompts
from slmsam2.engine.structures import Found
from slmsam2.engine.suggestion import plane_across
from slmsam2.prompts import Across, Prompt
from slmsam2.volume import SliceView


def structure_reports(
    found: Sequence[Found],
    prompts: Prompts,
    result: np.ndarray,
    names: dict[str, int],
    view: SliceView,
    calibration: Calibration | None = None,
    across: Mapping[int, Across] | None = None,
) -> dict[str, dict[str, Any]]:
    """Facts per structure, ready for JSON.

    Args:
        found: what the network said.
        prompts: {value: {stack slice: mask}}.
        result: the final label stack, integers (S, H, W).
        names: name -> value of the structures that were propagated.
        view: for slice numbers as stored.
        calibration: of the confidence.
        across: value -> what was given in other planes.

    Returns:
        name -> value; painted; painted_across: other stored axis -> slices along it that were painted, too; first, last
        (slice numbers; the latter two None when nothing is there); found and empty (numbers of slices that the
        propagation visited); stopped, per direction: slice and reason;
        redone: the slices computed for this request, with which others between the same given slices may change;
        region: [top, bottom, left, right] of the part of the (canonically turned) slices that was looked at;
        confidence: slice -> 0..1;
        gain: slice -> what correcting it should bring, see :func:`slmsam2.engine.confidence.gains`;
        suggested_slice and expected_gain: the slice where that is most, and how much; suggested_across: the plane of
        another stored axis that shows most of what is expected to be wrong, its "axis" and "slice", or None.
    """
    across = across or {}
    parts = {value: part for part in found for value in part.propagation.objects}
    return {
        name: _structure_report(parts[value], prompts[value], result, value, view)
        | {"painted_across": _stored(across.get(value, {}), view)}
        | _sureness(parts[value], prompts[value], value, view, calibration, across.get(value, {}))
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
    }


def _stored(across: Across, view: SliceView) -> dict[int, list[int]]:
    """Stored axis -> slices along it."""
    return {
        view.order[dimension]: sorted(view.stored_index(index, dimension) for index in planes)
        for dimension, planes in across.items()
        if planes
    }


def _sureness(
    part: Found,
    prompts: Mapping[int, Prompt],
    value: int,
    view: SliceView,
    calibration: Calibration | None,
    across: Across,
) -> dict[str, Any]:
    propagation = part.propagation
    facts = slice_facts(propagation, value, prompts)
    confidence = expected_dice(facts, calibration)
    gain = gains(facts, confidence)
    best = int(gain.argmax())
    stored = [view.stored_index(int(index)) for index in facts.slices]
    masks = propagation.low_res[facts.slices, propagation.objects.index(value)].numpy() > 0
    plane = plane_across(masks, 1 - confidence, part.region, view.spacing[1:], across)
    return {
        "confidence": {index: round(float(sure), 4) for index, sure in zip(stored, confidence, strict=True)},
        "gain": {index: round(float(some), 6) for index, some in zip(stored, gain, strict=True)},
        "suggested_slice": stored[best] if gain[best] > 0 else None,
        "expected_gain": round(float(gain[best]), 4),
        "suggested_across": plane
        and {"axis": view.order[plane[0]], "slice": view.stored_index(plane[1], plane[0])},
    }


def suggestions(reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """suggested_slice and suggested_across of the structure that a correction should help most."""
    best: dict[str, Any] = max(reports.values(), key=lambda report: report["expected_gain"], default={})
    return {name: best.get(name) for name in ("suggested_slice", "suggested_across")}
