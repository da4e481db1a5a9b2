"""What the user painted: the labelmap on the image's grid, and what its values are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.errors import PromptError, VolumeError
from slmsam2.prompts import all_named, label_names, listed_names, named_pairs, painted_structures
from slmsam2.server.requests.parameters import Parameters
from slmsam2.server.requests.received import RAW
from slmsam2.server.requests.study import Study
from slmsam2.values import present_values
from slmsam2.volume import LARGEST_LABEL, Volume, label_on_grid, read_label

# The two layers of 3D Slicer's Scribbles panel; they belong to the segment that is selected.
FOREGROUND, BACKGROUND = "foreground_scribbles", "background_scribbles"


@dataclass(frozen=True)
class Painted:
    """What was painted, on the image's grid.

    Attributes:
        label: (I, J, K) integers, 0 background, a value per structure; of a type that holds all values in ``names``.
        names: name -> value of everything painted, by ascending value.
        structures: name -> value of what is to be propagated.
        alone: the reply holds the one structure only, as value 1, the way 3D Slicer takes it into its
            selected segment; else everything painted comes back under its own value.
        strokes: (I, J, K) bool twice, where the selected structure is and is not, from Slicer's scribbles layers;
            None without.
    """

    label: np.ndarray
    names: dict[str, int]
    structures: dict[str, int]
    alone: bool
    strokes: tuple[np.ndarray, np.ndarray] | None = None

    def covered(self) -> np.ndarray:
        """Bool (I, J, K): where anything is painted, strokes included.

        Every pass over a large volume takes a tenth of a second, so this one is made once for all structures.
        """
        covered = self.label != 0
        for layer in self.strokes or ():
            covered |= layer
        return covered


def read_painted(
    path: Path, study: Study, image: Volume, parameters: Parameters, *, empty: bool = False
) -> Painted:
    """Read a label file for a study and sort out its structures.

    Args:
        empty: whether nothing needs to be painted in the selected structure: clicks say where it is, or it is undone.

    Raises:
        VolumeError, GridError: the label cannot be read or lies elsewhere.
        PromptError: nothing is painted, or not what was asked for; a value that no label can hold.
    """
    label = label_on_grid(read_saved(path, image), image)
    listed = parameters.label_info
    if listed is not None:
        label = _one_per_name(label, listed)
    info = label_names(study.saved_info) if listed is None else listed_names(listed)
    selected = None if parameters.structures else parameters.selected
    strokes = None
    if selected is not None:
        label, info, strokes = _take_scribbles(label, info)
    by_value = {value: name for name, value in info.items()}
    present = present_values(label)
    if (strokes is not None or empty) and selected in info:
        present = sorted({*present, info[selected]})
    names = all_named(present, by_value)
    alone = selected in info
    if alone and selected not in names:
        raise PromptError(_empty_segment(str(selected), names))
    if alone:
        structures = {str(selected): names[str(selected)]}
    else:
        structures = painted_structures(label, names=names, selected=parameters.structures)
    return Painted(_holding(label, names), names, structures, alone, strokes)


def _holding(label: np.ndarray, names: dict[str, int]) -> np.ndarray:
    """A label in a type that can hold the values of structures; it is copied only if its own cannot."""
    name, largest = max(names.items(), key=lambda one: one[1])
    if largest > LARGEST_LABEL:
        raise PromptError(
            f"The value {largest} of '{name}' is too large for a label: use whole numbers from 1 to {LARGEST_LABEL}."
        )
    fits = largest <= np.iinfo(label.dtype).max
    return label if fits else label.astype(np.min_scalar_type(largest))


def nothing_painted(image: Volume, name: str) -> Painted:
    """A structure of which only marks are known."""
    label = np.zeros(image.shape, np.int32)
    return Painted(label, {name: 1}, {name: 1}, True)


def _empty_segment(selected: str, names: dict[str, int]) -> str:
    there = f"Painted are: {', '.join(names)}. " if names else ""
    return (
        f"The segment '{selected}' is selected, but nothing is painted in it. {there}"
        "Paint it on one slice, or select the segment that you painted."
    )


def is_raw(path: Path) -> bool:
    """Whether a label file holds voxels alone: bytes, x fastest."""
    return path.suffix in (RAW, ".bin")


def read_saved(path: Path, image: Volume) -> Volume:
    """A label file as clients send it.

    Raises:
        VolumeError: it cannot be read; a raw one (bytes, x fastest) that has not the image's size.
    """
    if not is_raw(path):
        return read_label(path)
    voxels = np.fromfile(path, dtype=np.uint8)
    if voxels.size != image.array.size:
        shape = " x ".join(str(n) for n in image.shape)
        raise VolumeError(
            f"The raw label (.bin) has {voxels.size} bytes; the image ({shape} voxels) needs "
            f"{image.array.size}, one byte per voxel, x fastest."
        )
    return Volume(voxels.reshape(image.shape, order="F"), image.affine, None, path)


def _one_per_name(label: np.ndarray, info: Iterable[Any]) -> np.ndarray:
    """A label (I, J, K) in which segments of one name are one.

    3D Slicer finds the segment for a result by its id: beside one that was made by hand, which has another, it may
    make a second of the same name.
    """
    names = listed_names(info)
    for name, value in named_pairs(info):
        if value and value not in names.values():
            label = np.where(label == value, names[name], _holding(label, {name: names[name]}))
    return label


def _take_scribbles(
    label: np.ndarray, info: dict[str, int]
) -> tuple[np.ndarray, dict[str, int], tuple[np.ndarray, np.ndarray] | None]:
    """Take Slicer's two layers out of the label.

    Returns:
        label (I, J, K); name -> value without the layers; foreground and background, bool (I, J, K), or None when
        both are empty.
    """
    structures = {name: value for name, value in info.items() if name not in (FOREGROUND, BACKGROUND)}
    inside, outside = (label == info.get(layer, -1) for layer in (FOREGROUND, BACKGROUND))
    if not (inside.any() or outside.any()):
        return label, structures, None
    return np.where(inside | outside, 0, label), structures, (inside, outside)
