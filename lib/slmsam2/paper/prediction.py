"""Masks of a whole volume from painted slices, as the published inference makes them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmsam2.engine import propagate_frames
from slmsam2.engine.progress import Progress
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.paper.pictures import write_masks
from slmsam2.paper.volumes import SliceStack
from slmsam2.volume import write_label
from slmsam2.volume.pictures import pictures_in

Wanted = dict[int | None, list[int]]
"""Object id -> slices that prompt it; None: all objects that are on these slices."""


def read_prompt_slices(path: Path) -> dict[str, Wanted]:
    """Which slices prompt which volume, from JSON.

    ``{"volume": 12}`` as published: the slice's number, from 0, for all objects on it; pictures count in the order of
    their names, slices of files along the stored axis.
    Also ``{"volume": [12, 30]}``, and ``{"volume": {"1": 12, "2": [30, 31]}}``: object id -> slices.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text())
        return {str(name): _wanted(value) for name, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"The prompt slices '{path}' cannot be read: JSON such as {{\"volume\": 12}} is needed."
        ) from error


def _wanted(value: Any) -> Wanted:
    if isinstance(value, dict):
        return {int(one): _numbers(slices) for one, slices in value.items()}
    return {None: _numbers(value)}


def _numbers(value: Any) -> list[int]:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(one, int) and not isinstance(one, bool) for one in numbers):
        raise TypeError("slice numbers are whole")
    return numbers


def largest_slice_prompts(stack: SliceStack) -> Wanted:
    """Each object prompted on the slice where it is largest."""
    labels = _labels(stack)
    largest = {one: int((labels == one).sum(axis=(1, 2)).argmax()) for one in stack.ids}
    return {one: [stack.index_of(index)] for one, index in largest.items()}  # its own inverse


def prompts_of(stack: SliceStack, wanted: Wanted) -> dict[int, dict[int, np.ndarray]]:
    """The masks that prompt, {object id: {slice: bool (H, W)}}.

    Raises:
        PromptError: a slice that is not there, or nothing is painted where it should be.
    """
    labels, count = _labels(stack), len(stack.image)
    outside = sorted({s for slices in wanted.values() for s in slices if not 0 <= s < count})
    if outside:
        raise PromptError(
            f"'{stack.name}' has slices 0 to {count - 1}; slice {outside[0]} cannot prompt it: correct that."
        )
    found: dict[int, dict[int, np.ndarray]] = {}
    for one, slices in wanted.items():
        for index in map(stack.index_of, slices):
            there = [int(v) for v in np.unique(labels[index]) if v] if one is None else [one]
            for value in there:
                found.setdefault(value, {})[index] = labels[index] == value
    empty = [value for value, masks in found.items() if not any(mask.any() for mask in masks.values())]
    if empty or not found:
        named = [wanted[empty[0]]] if empty else wanted.values()
        listed = ", ".join(str(s) for s in sorted({s for slices in named for s in slices}))
        what = f"object {empty[0]}" if empty else "nothing"
        raise PromptError(
            f"'{stack.name}': {what} is {'not ' if empty else ''}painted on slice {listed} of its masks. Name another "
            "slice in the prompt slices."
        )
    return found


def predict(
    network: SLMSAM2,
    stack: SliceStack,
    prompts: Mapping[int, Mapping[int, np.ndarray]],
    *,
    recent_n: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Propagate in the published order. Of several objects at one place the surest wins.

    Returns:
        Object ids (S, H, W), unsigned; 0 is background. Prompted slices, too, are as the network gives them.
    """
    found = propagate_frames(
        network,
        stack.frames(network.image_size),
        prompts,
        out_size=stack.image.shape[1:],  # type: ignore[arg-type]
        order="published",
        recent_n=recent_n,
        progress=progress,
    )
    ids = torch.tensor([0, *found.objects])
    result = np.zeros(stack.image.shape, np.min_scalar_type(max(found.objects)))
    for index in range(len(result)):
        logits = found.slice_logits(index)  # (O, H, W)
        background = torch.zeros_like(logits[:1])
        result[index] = ids[torch.cat([background, logits]).argmax(dim=0)].numpy()
    return result


def object_dice(
    found: np.ndarray, stack: SliceStack, prompts: Mapping[int, Mapping[int, np.ndarray]]
) -> dict[int, float] | None:
    """Dice of each prompted object over the slices that have a mask and do not prompt it.

    None where there is nothing to compare with: no masks beside those that prompt.
    """
    if stack.labels is None:
        return None
    given = {index for masks in prompts.values() for index in masks}
    others = [index for index in np.flatnonzero(stack.masked) if int(index) not in given]
    if not others or not stack.labels[others].any():
        return None
    result = {}
    for one, masks in prompts.items():
        counted = [index for index in np.flatnonzero(stack.masked) if int(index) not in masks]
        result[one] = dice(found[counted] == one, stack.labels[counted] == one)
    return result


def write_result(output: Path, stack: SliceStack, found: np.ndarray) -> list[Path]:
    """Write object ids (S, H, W) in the kind the image came in, in one piece.

    Pictures: ``<output>/<volume>/00000.png`` and so on, numbered as published. Else ``<output>/<volume>.nii.gz``
    on the image's own grid.

    Returns:
        The files.
    """
    folder = output / stack.name
    folder.parent.mkdir(parents=True, exist_ok=True)  # names of volumes may be those of folders in folders
    if not stack.pictures:
        path = folder.with_name(f"{folder.name}.nii.gz")
        write_label(path, stack.view.to_stored(found), stack.grid)
        return [path]
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    write_masks(temporary, [f"{index:05d}" for index in range(len(found))], found)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)
    return pictures_in(folder)


def _labels(stack: SliceStack) -> np.ndarray:
    if stack.labels is None:
        raise PromptError(f"'{stack.name}' has no masks, so nothing prompts it. Add the mask of one slice.")
    return stack.labels
