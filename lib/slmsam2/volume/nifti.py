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
from slmsam2.volume.volume import ALIKE, Places, Volume, alike, shape_text

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


def read_nifti(path: Path, *, as_label: bool = False) -> tuple[np.ndarray, *Places]:
    """Read a NIfTI file.

    Returns:
        array (I, J, K), in the dtype of the file, or floating point when its header scales the values;
        affine (4, 4), RAS+ mm, as ITK, and so 3D Slicer, has it; and as nibabel has it, where that is another.

    Raises:
        VolumeError: unreadable, not one 3D volume, or a label in colours.
    """
    with _damage_said(path):
        image, shape = _opened(path)
        values = _values(image.dataobj)
        if values.dtype.names:  # RGB or RGBA
            colours = np.stack([values[name] for name in values.dtype.names], axis=-1)
            values = single_channel(colours[..., :3], path) if as_label else luminance(colours)
        return values.reshape(shape, order="F"), *_places(image, path)


def grid_of_nifti(path: Path) -> tuple[tuple[int, ...], *Places]:
    """Shape (I, J, K) and affines as :func:`read_nifti` gives them, of a NIfTI file, from its header.

    Raises:
        VolumeError: unreadable, or not one 3D volume.
    """
    with _damage_said(path):
        image, shape = _opened(path)
        return shape, *_places(image, path)


def _places(image: nib.Nifti1Pair, path: Path) -> Places:
    if len(image.shape) < 3 or _says_one_place(image.header):
        return image.affine, None
    from slmsam2.volume.itk import places_of

    return places_of(path, image.affine)


def _says_one_place(header: nib.Nifti1Header) -> bool:
    """Whether a header leaves programs no choice: it has one affine, with the voxels' sizes beside it, or two alike.

    One in other units than mm leaves it: nibabel does not heed them, ITK does.
    """
    if header.get_xyzt_units()[0] not in ("mm", "unknown"):
        return False
    sform, qform = header.get_sform(coded=True)[0], _qform(header)
    if sform is None:
        return qform is not None
    if qform is None:
        return int(header["qform_code"]) == 0 and np.allclose(
            np.linalg.norm(sform[:3, :3], axis=0), header.get_zooms()[:3], rtol=ALIKE
        )
    return alike(sform, qform)


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    try:
        return header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):  # its quaternion is none
        return None


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
    """An image of `array` (I, J, K) with the geometry of `like`, its units in mm, for each program as it has `like`."""
    image = nib.Nifti1Image(
        array, like.affine, dtype=array.dtype
    )  # else nibabel refuses 64-bit whole numbers
    image.set_sform(like.affine, code=1)
    if np.allclose(
        image.get_qform(), like.affine, atol=1e-3 * min(like.spacing)
    ):  # quaternions hold no shears
        image.set_qform(like.affine, code=1)
    if like.other_affine is not None:
        image.set_sform(like.other_affine, code=2)  # of these two, ITK takes the qform
    image.header.set_xyzt_units("mm")
    return image
