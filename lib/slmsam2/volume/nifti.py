"""NIfTI files, by nibabel."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from slmsam2.errors import VolumeError
from slmsam2.volume.pictures import luminance, single_channel
from slmsam2.volume.volume import Volume, shape_text

DAMAGED = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    OverflowError,
    MemoryError,
)
_UNITS = {
    1: 1000.0,
    3: 0.001,
}  # mm, of the codes of metres and micrometres; whatever else the header says is mm


def read_nifti(path: Path, *, as_label: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a NIfTI file.

    Returns:
        array (I, J, K), in the dtype of the file, or floating point when its header scales the values;
        affine (4, 4), RAS+ mm.

    Raises:
        VolumeError: unreadable, not one 3D volume, or a label in colours.
    """
    with _damage_said(path):
        image, shape = _opened(path)
        values = _values(image.dataobj)
        if values.dtype.names:  # RGB or RGBA
            colours = np.stack([values[name] for name in values.dtype.names], axis=-1)
            values = single_channel(colours[..., :3], path) if as_label else luminance(colours)
        return values.reshape(shape, order="F"), _affine(image)


def grid_of_nifti(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (I, J, K) and affine (4, 4), RAS+ mm, of a NIfTI file, from its header.

    Raises:
        VolumeError: unreadable, or not one 3D volume.
    """
    with _damage_said(path):
        image, shape = _opened(path)
        return shape, _affine(image)


def _opened(path: Path) -> tuple[nib.Nifti1Pair, tuple[int, ...]]:
    """The image, no voxel of which is read yet, and its shape (I, J, K)."""
    image = nib.load(path, mmap=False)
    if not isinstance(image, nib.Nifti1Pair):
        raise ImageFileError(f"{type(image).__name__} is not NIfTI")
    shape = (*image.shape, 1, 1)[: max(3, len(image.shape))]
    if len(image.shape) > 1 and all(size == 1 for size in shape[3:]):
        return image, shape[:3]
    raise VolumeError(
        f"'{path.name}' has {len(image.shape)} dimension(s) ({shape_text(image.shape)}): one 3D volume is "
        "needed. Export a single time point or channel."
    )


def _affine(image: nib.Nifti1Pair) -> np.ndarray:
    """Voxel index -> position in mm, RAS+, (4, 4) float64."""
    unit = _UNITS.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return np.diag([unit, unit, unit, 1.0]) @ image.affine


@contextmanager
def _damage_said(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise VolumeError(
            f"'{path.name}' is damaged, incomplete, too large for the memory, or not a NIfTI image. "
            "Save it again."
        ) from error


def _values(data: Any) -> np.ndarray:
    """An array proxy's values as they count, in this machine's byte order, with little memory."""
    if (data.slope, data.inter) != (1, 0):
        return np.asarray(data, dtype=np.promote_types(data.dtype, np.float32))
    values = data.get_unscaled()
    return values if values.dtype.names else values.astype(values.dtype.newbyteorder("="), copy=False)


def nifti_image(array: np.ndarray, like: Volume) -> nib.Nifti1Image:
    """An image of `array` (I, J, K) with the geometry of `like`, its units in mm."""
    image = nib.Nifti1Image(
        array, like.affine, dtype=array.dtype
    )  # else nibabel refuses 64-bit whole numbers
    image.set_sform(like.affine, code=1)
    if np.allclose(image.get_qform(), like.affine, atol=1e-3):  # a quaternion cannot hold shears
        image.set_qform(like.affine, code=1)
    image.header.set_xyzt_units("mm")
    return image
