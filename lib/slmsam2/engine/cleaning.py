"""Optional post-processing of a proposal: one piece, no holes, smooth from slice to slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_fill_holes, gaussian_filter1d, generate_binary_structure, label

from slmsam2.engine.crossing import on_slice
from slmsam2.engine.propagation import Prompts
from slmsam2.engine.settings import Settings
from slmsam2.planes import box_of
from slmsam2.prompts import Across, Prompt, extent_of

BETWEEN_SLICES = 1.0  # standard deviation in slices of the Gaussian that smooths masks from slice to slice


@dataclass(frozen=True)
class Cleaning:
    """What is done to each proposed structure; painted and marked slices always stay as they are.

    Attributes:
        keep_largest: drop pieces that neither are the largest nor hold anything painted (26-connected).
        fill_holes: fill holes of a slice that are background.
        smooth_slices: smooth the mask across slices, each span between two prompts by itself.
    """

    keep_largest: bool = False
    fill_holes: bool = False
    smooth_slices: bool = False


def clean(
    result: np.ndarray,
    prompts: Prompts,
    cleaning: Cleaning,
    settings: Settings,
    across: Mapping[int, Across],
) -> None:
    """Post-process the structures in ``result``, integers (S, H, W), in place.

    Voxels of other structures are never taken; what a structure loses becomes background. Slices that the propagation
    was told not to go to stay as they are.

    Args:
        prompts: {value: {slice: bool (H, W), or marks}}, as propagated.
        settings: how it was propagated.
        across: value -> what was painted in other planes.
    """
    if cleaning == Cleaning():
        return
    for value, given in prompts.items():
        planes = across.get(value, {})
        mask = result == value
        before = mask.copy()
        _, *around = box_of(mask)  # its rows and columns: none of these goes beyond them
        part = mask[:, *around]
        if cleaning.smooth_slices:
            part[:] = _smoothed(part, sorted(given))
        if cleaning.fill_holes:
            for slice_mask in part:
                slice_mask[:] = binary_fill_holes(slice_mask)
        if cleaning.keep_largest:
            part[:] = _largest(part, _said(given, planes, mask.shape)[:, *around])
        kept = [*given, *settings.untouched(given, len(result))]
        mask[kept] = before[kept]
        for dimension, index in ((d, index) for d, masks in planes.items() for index in masks):
            plane = (slice(None), *on_slice(dimension, index))
            mask[plane] = before[plane]
        result[before & ~mask] = 0
        result[mask & (result == 0)] = value


def _smoothed(mask: np.ndarray, prompted: list[int]) -> np.ndarray:
    """A Gaussian across slices, thresholded at a half; prompted slices take part and are changed by nothing."""
    smooth = mask.copy()
    ends = [0, *prompted, len(mask) - 1]
    for low, high in pairwise(ends):
        if high > low:
            part = gaussian_filter1d(
                mask[low : high + 1].astype(np.float32), BETWEEN_SLICES, axis=0, mode="nearest"
            )
            smooth[low : high + 1] = part > 0.5
    return smooth


def _largest(mask: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The largest piece and all pieces with something painted or marked, which ``said`` holds; all bool (S, H, W)."""
    pieces, count = label(mask, structure=generate_binary_structure(3, 3))
    if count < 2:
        return mask
    kept = {int(np.bincount(pieces[mask]).argmax()), *np.unique(pieces[said]).tolist()}
    return np.isin(pieces, sorted(kept - {0}))


def _said(given: Mapping[int, Prompt], across: Across, shape: tuple[int, ...]) -> np.ndarray:
    """Bool (S, H, W): all that was painted or marked."""
    said = np.zeros(shape, bool)
    for index, prompt in given.items():
        said[index] |= extent_of(prompt)
    for dimension, planes in across.items():
        for index, inside in planes.items():
            said[:, *on_slice(dimension, index)] |= inside
    return said
