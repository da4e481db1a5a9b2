"""Plain pictures (PNG, JPEG): one is a slice, a folder of them is a clip whose third axis is time."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from slmsam2.errors import VolumeError
from slmsam2.volume.volume import shape_text

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Weights of red, green and blue in the brightness of a colour: ITU-R BT.601, as in Pillow's mode "L".
_LUMINANCE = (0.299, 0.587, 0.114)
_COLOUR_MODES = ("LA", "RGB", "RGBA", "CMYK", "YCbCr")
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, numbers counted as numbers (2 before 10)."""
    found = [path for path in folder.iterdir() if path.is_file() and is_picture(path)]
    return sorted(found, key=_natural_order)


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture (hidden files are not counted)."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def _natural_order(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def picture_size(path: Path) -> tuple[int, int]:
    """Columns and rows of a picture, from its header.

    Raises:
        VolumeError: it is damaged.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except _DAMAGED as error:
        raise VolumeError(_damaged(path)) from error


def read_pictures(paths: list[Path], *, as_label: bool) -> np.ndarray:
    """Read pictures of one size.

    Args:
        paths: at least one picture, in order of time.
        as_label: palette numbers are kept as they are; colours, and JPEG, which changes numbers, are refused.

    Returns:
        (columns, rows, pictures); colours have become their luminance.

    Raises:
        VolumeError: a picture is damaged, of another size than the first, or a label in colour or JPEG.
    """
    slices = [_read_picture(path, as_label) for path in paths]
    for path, picture in zip(paths, slices, strict=True):
        if picture.shape != slices[0].shape:
            raise VolumeError(
                f"'{path.name}' is {shape_text(picture.shape[::-1])} pixels but '{paths[0].name}' is "
                f"{shape_text(slices[0].shape[::-1])}: all pictures of a clip must have one size."
            )
    return np.stack(slices).transpose(2, 1, 0)


def _read_picture(path: Path, as_label: bool) -> np.ndarray:
    """One picture as (rows, columns)."""
    try:
        with Image.open(path) as picture:
            if as_label and picture.format == "JPEG":
                raise VolumeError(
                    f"'{path.name}' is JPEG, which changes the numbers of a label. Save labels as PNG, from what they "
                    "were before."
                )
            if as_label and picture.mode in ("RGB", "RGBA"):
                return single_channel(np.asarray(picture.convert("RGB")), path)
            if picture.mode in _COLOUR_MODES or (picture.mode == "P" and not as_label):
                return np.asarray(picture.convert("L"))
            return np.asarray(picture)
    except _DAMAGED as error:
        raise VolumeError(_damaged(path)) from error


def _damaged(path: Path) -> str:
    return f"'{path.name}' is damaged or not a picture. Save it again as PNG."


def single_channel(colours: np.ndarray, path: Path) -> np.ndarray:
    """The one number that all colours (..., 3) of a label's voxel have.

    Raises:
        VolumeError: they differ.
    """
    if (colours != colours[..., :1]).any():
        raise VolumeError(
            f"'{path.name}' is a label in colours. Save it with one number per voxel (PNG: grey or with a palette)."
        )
    return colours[..., 0]


def by_slice(masks: list[Path], images: list[Path], name: str) -> list[Path | None]:
    """The mask picture of each image picture, by name, else by order; None where there is none.

    Raises:
        VolumeError: they have other names, and are not as many; ``name`` is what they are of.
    """
    named = {file.stem: file for file in masks}
    if named.keys() <= {file.stem for file in images}:
        return [named.get(file.stem) for file in images]
    if len(masks) == len(images):
        return list(masks)
    raise VolumeError(
        f"'{name}' has {len(images)} images and {len(masks)} masks of other names: name each mask after its image."
    )


def luminance(colours: np.ndarray) -> np.ndarray:
    """Brightness of colours, (..., 3 or 4) -> (...), in the same integer or floating dtype."""
    grey = np.empty(colours.shape[:-1], colours.dtype)
    for index in range(colours.shape[0]):  # a plane at a time, to keep the floating-point copy small
        bright = colours[index, ..., :3].astype(np.float64) @ np.array(_LUMINANCE)
        grey[index] = np.rint(bright) if colours.dtype.kind in "ui" else bright
    return grey
