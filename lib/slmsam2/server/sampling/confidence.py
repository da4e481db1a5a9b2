"""How sure the model was of an image's propagation: noted with the image, and read again."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

logger = logging.getLogger(__name__)

KEY = "slmsam2"  # of our note in an image's info


def mean_confidence(report: Mapping[str, Any]) -> float | None:
    """Mean over structures of the mean over the slices on which each was found.

    Painted slices do not count: they are the user's and not the model's.

    Args:
        report: of an inference; see :func:`slmsam2.engine.report.structure_reports`. Slice numbers may be text, as JSON
            makes them.

    Returns:
        0..1; None when the model found nothing by itself.
    """
    means = []
    for facts in report.get("structures", {}).values():
        first, last = facts["first"], facts["last"]
        painted = set(facts["painted"])
        sure = [
            value
            for index, value in facts["confidence"].items()
            if first is not None and first <= int(index) <= last and int(index) not in painted
        ]
        if sure:
            means.append(sum(sure) / len(sure))
    return sum(means) / len(means) if means else None


def confidence_note(report: Mapping[str, Any]) -> dict[str, Any]:
    """How sure the model was, for an image's info; {} when it found nothing by itself."""
    confidence = mean_confidence(report)
    if confidence is None:
        return {}
    return {
        KEY: {"confidence": round(confidence, 4), "version": report.get("version"), "ts": int(time.time())}
    }


def recorded_confidence(datastore: Datastore, image: str) -> float | None:
    """What was noted for an image, else what a proposal saved for it says; None when neither is there."""
    note = datastore.get_image_info(image).get(KEY)
    value = note.get("confidence") if isinstance(note, dict) else None
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return _of_proposal(datastore, image)


def _of_proposal(datastore: Datastore, image: str) -> float | None:
    original = DefaultLabelTag.ORIGINAL.value
    label = datastore.get_label_by_image_id(image, original)
    params = datastore.get_label_info(label, original).get("params") if label else None
    report = params.get("report") if isinstance(params, dict) else None
    if not isinstance(report, dict):
        return None
    try:
        return mean_confidence(report)
    except (AttributeError, KeyError, TypeError, ValueError):
        logger.warning("The report saved with the proposal for %s is not one of this app's.", image)
        return None
