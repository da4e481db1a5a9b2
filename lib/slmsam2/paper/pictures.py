"""Slices and masks as picture files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from slmsam2.errors import VolumeError
from slmsam2.files import write_whole
from slmsam2.volume import Window
from slmsam2.volume.pictures import pictures_in

JPEG_QUALITY = 95
_BYTE, _WORD = 255, 65535


def shown_as_bytes(stack: np.ndarray, window: Window) -> np.ndarray:
    """Intensities (S, H, W) as the pixels 0 to 255 of a window; NaN and infinities count as its low end."""
    pixels = np.empty(stack.shape, np.uint8)
    for index, values in enumerate(stack):  # a slice at a time, for the memory
        finite = np.where(np.isfinite(values), values, window.low).astype(np.float64)
        pixels[index] = np.rint(((finite - window.low) / window.width).clip(0, 1) * _BYTE)
    return pixels


def as_words(stack: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Intensities (S, H, W) as unsigned pixels of 8 or 16 bits.

    Returns:
        The pixels, offset and scale, with ``offset + scale * pixel`` the intensity: exactly so (and scale 1) for whole
        numbers that span at most 65535, else the nearest of 65536 levels; NaN and infinities count as the least one.
    """
    finite = stack[np.isfinite(stack)] if stack.dtype.kind == "f" else stack
    if finite.size == 0:
        raise VolumeError("The image has no finite voxel: it is empty or damaged. Export it again.")
    low, high = float(finite.min()), float(finite.max())
    whole = stack.dtype.kind in "bui" or bool((finite == np.rint(finite)).all())
    scale = 1.0 if whole and high - low <= _WORD else (high - low) / _WORD
    low = 0.0 if scale == 1.0 and low >= 0 and high <= _BYTE else low
    values = np.nan_to_num(stack.astype(np.float64), nan=low, posinf=low, neginf=low)
    pixels = np.rint((values - low) / scale)
    return pixels.astype(np.uint8 if pixels.max() <= _BYTE else np.uint16), low, scale


def write_images(folder: Path, names: Sequence[str], pixels: np.ndarray, ending: str) -> None:
    """Write unsigned pixels (S, H, W) as ``<name><ending>``, ".jpg" (8 bits only) or ".png".

    Raises:
        VolumeError: the folder holds pictures of other names.
    """
    _check_alone(folder, names, ending)
    options = {"quality": JPEG_QUALITY} if ending == ".jpg" else {}
    for name, slice_pixels in zip(names, pixels, strict=True):
        _save(folder / f"{name}{ending}", Image.fromarray(np.ascontiguousarray(slice_pixels)), **options)


def write_masks(
    folder: Path, names: Sequence[str], labels: np.ndarray, palette: Sequence[int] | None = None
) -> None:
    """Write object ids (S, H, W) as PNG: grey values, or palette numbers when there is a palette.

    Raises:
        VolumeError: an id above 65535, which PNG cannot hold; or the folder holds pictures of other names.
    """
    _check_alone(folder, names, ".png")
    highest = int(labels.max(initial=0))
    if highest > _WORD:
        raise VolumeError(f"PNG masks hold ids up to {_WORD}, but the label has {highest}: number it anew.")
    kind = np.uint8 if highest <= _BYTE else np.uint16
    for name, ids in zip(names, labels, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(ids.astype(kind)))
        if palette is not None and kind is np.uint8:
            picture.putpalette(bytes(palette))
        _save(folder / f"{name}.png", picture)


def palette_of(path: Path) -> list[int] | None:
    """The colours of a palette picture, (R, G, B) one after the other; None for other pictures."""
    with Image.open(path) as picture:
        return picture.getpalette() if picture.mode == "P" else None


def _check_alone(folder: Path, names: Sequence[str], ending: str) -> None:
    there = {path.name for path in pictures_in(folder)} if folder.is_dir() else set()
    others = there - {f"{name}{ending}" for name in names}
    if others:
        raise VolumeError(
            f"'{folder}' holds {len(others)} other pictures, such as '{min(others)}': choose another folder, or remove "
            "them."
        )


def _save(path: Path, picture: Image.Image, **options: int) -> None:
    kind = "JPEG" if path.suffix == ".jpg" else "PNG"
    write_whole(path, lambda stream: picture.save(stream, kind, **options))
