"""What the user painted: the labelmap on the image's grid, and what its values are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.errors import PromptError, VolumeError
from slmsam2.prompts import painted_structures
from slmsam2.server.parameters import Parameters
from slmsam2.server.received import RAW
from slmsam2.server.study import Study
from slmsam2.volume import Volume, label_on_grid, read_label

# The two layers of 3D Slicer's Scribbles panel; they belong to the segment that is selected.
FOREGROUND, BACKGROUND = "foreground_scribbles", "background_scribbles"


@dataclass(frozen=True)
class Painted:
    """What was painted, on the image's grid.

    Attributes:
        label: (I, J, K) int32, 0 background, a value per structure.
        names: name -> value of everything painted, by ascending value.
        structures: name -> value of what is to be propagated.
        alone: the reply holds the one structure only, as value 1, the way 3D Slicer takes it into its
            selected segment; else everything painted comes back under its own value.
        kept: (I, J, K) bool, painted as something else: not for the structures to grow into.
    """

    label: np.ndarray
    names: dict[str, int]
    structures: dict[str, int]
    alone: bool
    kept: np.ndarray


def read_painted(study: Study, image: Volume, parameters: Parameters) -> Painted:
    """Read the label of a study and sort out its structures.

    Raises:
        VolumeError, GridError: the label cannot be read or lies elsewhere.
        PromptError: nothing is painted, or not what was asked for.
    """
    label = label_on_grid(read_saved(study.label, image), image)
    listed = parameters.label_info
    info = label_names(study.saved_info) if listed is None else listed_names(listed)
    selected = None if parameters.structures else parameters.selected
    background = np.zeros(label.shape, bool)
    if selected is not None:
        label, info, background = _join_scribbles(label, info, selected)
    present = [int(v) for v in np.unique(label[label != 0])]
    by_value = {value: name for name, value in info.items()}
    names = {by_value.get(value, f"structure_{value}"): value for value in present}
    alone = selected in info
    if alone and selected not in names:
        raise PromptError(_empty_segment(str(selected), names))
    wanted = [str(selected)] if alone else parameters.structures
    structures = painted_structures(label, names=names, selected=wanted)
    kept = ((label != 0) & ~np.isin(label, list(structures.values()))) | background
    return Painted(label, names, structures, alone, kept)


def _empty_segment(selected: str, names: dict[str, int]) -> str:
    there = f"Painted are: {', '.join(names)}. " if names else ""
    return (
        f"The segment '{selected}' is selected, but nothing is painted in it. {there}"
        "Paint it on one slice, or select the segment that you painted."
    )


def read_saved(path: Path, image: Volume) -> Volume:
    """A label file as clients send it.

    Raises:
        VolumeError: it cannot be read; a raw one (bytes, x fastest) that has not the image's size.
    """
    if path.suffix not in (RAW, ".bin"):
        return read_label(path)
    voxels = np.fromfile(path, dtype=np.uint8)
    if voxels.size != image.array.size:
        shape = " x ".join(str(n) for n in image.shape)
        raise VolumeError(
            f"The raw label (.bin) has {voxels.size} bytes; the image ({shape} voxels) needs "
            f"{image.array.size}, one byte per voxel, x fastest."
        )
    return Volume(voxels.reshape(image.shape, order="F").astype(np.int32), image.affine, None, path)


def listed_names(info: Iterable[Any]) -> dict[str, int]:
    """name -> value from a client's ``[{name, id | idx}]``; incomplete and repeated entries are left out."""
    names: dict[str, int] = {}
    for entry in info:
        if not isinstance(entry, dict):
            continue
        name, value = entry.get("name"), entry.get("id", entry.get("idx"))
        if not isinstance(name, str) or not isinstance(value, int) or value < 0:
            continue
        if name not in names and value not in names.values():
            names[name] = value
    return names


def label_names(info: dict[str, Any]) -> dict[str, int]:
    """name -> value, as saved with a label: by a client, or by an inference whose result was saved."""
    listed = info.get("label_info")
    if isinstance(listed, list):
        return listed_names(listed)
    params = info.get("params")
    names = params.get("label_names") if isinstance(params, dict) else None
    return listed_names([{"name": n, "id": v} for n, v in names.items()] if isinstance(names, dict) else [])


def _join_scribbles(
    label: np.ndarray, info: dict[str, int], selected: str
) -> tuple[np.ndarray, dict[str, int], np.ndarray]:
    """Foreground scribbles become part of the selected segment; background is where it must not be.

    Returns:
        label (I, J, K); name -> value without the two layers; background (I, J, K) bool.
    """
    structures = {name: value for name, value in info.items() if name not in (FOREGROUND, BACKGROUND)}
    background = label == info.get(BACKGROUND, -1)
    label = np.where(background, 0, label)
    if selected in structures:
        label[label == info.get(FOREGROUND, -1)] = structures[selected]
    return label, structures, background
