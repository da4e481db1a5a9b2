"""The outline of what was clicked on, drawn by a network that sees one slice.

For models that have seen few clicks in their training (``outline_marks``): what is drawn is given to them as if it were
painted.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from slmsam2.engine.boxes import in_box
from slmsam2.modeling.build import starting_path
from slmsam2.modeling.outliner import SIDE, Hints, Outliner, as_prior, read_outliner, seen_at_last
from slmsam2.prompts import NEGATIVE, POSITIVE, Marks

# overlap of outlines with the reference, from the mean Dice coefficients of 61 structures in ten volumes
CLICKED = (0.44, 0.63, 0.70, 0.74, 0.77)  # by one, two, ... clicks
BOXED, BOXED_LOOSELY, CORRECTED = 0.70, 0.39, 0.71


def outline(grey: np.ndarray, marks: Marks, prior: np.ndarray | None = None) -> np.ndarray:
    """The mask that marks on a slice mean.

    Args:
        grey: float (H, W), 0 to 1.
        marks: on the same pixels; they say where the structure is, or there is a ``prior``.
        prior: bool (H, W), a mask that clicks and strokes correct: only parts that a mark lies in change. It does not
            count with a box, which is drawn around the whole structure.

    Returns:
        Bool (H, W), with all pixels marked inside and none of those marked outside.
    """
    if marks.box is not None or (prior is not None and not prior.any()):
        prior = None
    mask = _drawn(grey, marks, prior)
    if prior is not None:
        mask = prior ^ _parts_with(mask ^ prior, marks.inside | marks.outside)
    elif marks.inside.any():
        mask = _parts_with(mask, marks.inside)
    if marks.box is not None and not mask.any():
        mask = in_box(grey, marks.box)
    return (mask | marks.inside) & ~marks.outside


def expected_overlap(marks: Marks, *, corrected: bool) -> float:
    """The overlap with the structure that is to be expected of an outline, 0 to 1.

    Args:
        marks: it was drawn from.
        corrected: whether they correct a mask.
    """
    if marks.box is not None:
        return BOXED_LOOSELY if marks.loose and not marks.inside.any() else BOXED
    if corrected:
        return CORRECTED
    clicks = int(marks.inside.sum() + marks.outside.sum())
    return CLICKED[min(clicks, len(CLICKED)) - 1]


def _drawn(grey: np.ndarray, marks: Marks, prior: np.ndarray | None) -> np.ndarray:
    """What the network draws, bool (H, W).

    A box begins with what the image shows in it.
    """
    image = _squared(grey).clamp(0, 1)
    pixels, labels = marks.points()
    places = torch.from_numpy(pixels * np.array([SIDE / grey.shape[1], SIDE / grey.shape[0]], np.float32))
    clicks = np.isin(labels, (NEGATIVE, POSITIVE))
    box = None if marks.box is None else places[~clicks].reshape(1, 4)
    begun = prior if marks.box is None else in_box(grey, marks.box)
    hints = Hints(
        places[clicks][None],
        torch.from_numpy(labels[clicks] == POSITIVE)[None],
        box,
        None if begun is None else as_prior(_squared(begun)),
    )
    size = (grey.shape[0], grey.shape[1])
    logits = _logits(image, hints)
    return (F.interpolate(logits[:, None], size, mode="bilinear", align_corners=False)[0, 0] > 0).numpy()


@torch.no_grad()
def _logits(image: Tensor, hints: Hints) -> Tensor:
    """Of the network, (1, SIDE, SIDE), as the image."""
    network = _network()
    logits: Tensor = network(seen_at_last(network, image, hints))
    return logits


@cache
def _network() -> Outliner:
    """The network, read when it is wanted first; on the CPU, as it takes hundredths of a second."""
    return read_outliner(starting_path("outliner"))


def _squared(slice_: np.ndarray) -> Tensor:
    """A slice, (H, W), at the network's size: float32 (1, SIDE, SIDE)."""
    whole = torch.from_numpy(np.ascontiguousarray(slice_, dtype=np.float32))[None, None]
    return F.interpolate(whole, (SIDE, SIDE), mode="area")[0]


def _parts_with(mask: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that a marked pixel lies in, all bool (H, W)."""
    parts, _ = ndimage.label(mask)
    return np.isin(parts, np.setdiff1d(parts[marked], 0))
