"""Volumes and labels from files, and labels back to files.

What reads DICOM, NRRD and MetaImage is imported when such a file comes: SimpleITK alone takes 100 MB.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from slmsam2.errors import GridError, StorageError, VolumeError
from slmsam2.files import staged_path
from slmsam2.volume.grid import label_on_grid
from slmsam2.volume.nifti import grid_of_nifti, nifti_image, read_nifti
from slmsam2.volume.pictures import by_slice, is_picture, pictures_in, read_pictures
from slmsam2.volume.volume import LPS_TO_RAS, Volume, shape_text

logger = logging.getLogger(__name__)

_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_WRITTEN_ITK_SUFFIXES = (".nrrd", ".mha")
_READABLE = "NIfTI (.nii, .nii.gz), NRRD, MHA/MHD, a DICOM file or folder, PNG, JPEG, or a folder of pictures"
# How far a label value may be from a whole number, for files that went through floating point.
_WHOLE_NUMBER_TOLERANCE = 1e-3
LARGEST_LABEL = np.iinfo(np.int32).max


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read an image.

    Args:
        path: .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, a DICOM file (one slice, or several frames), a folder
            with a DICOM series (the longest when there are several), a .png or .jpg picture (one slice), or a
            folder of pictures (a clip: the third axis is time). Colours become luminance. Files without
            geometry get voxels of 1 mm, with the affine diag(-1, -1, 1, 1), that of ITK's identity; a JPEG picture
            has some if it says how many dots there are per inch.

    Returns:
        The volume, (I, J, K), in the dtype of the file unless the header scales its values.

    Raises:
        VolumeError: missing, damaged, of another kind, not one 3D volume, or with broken geometry.
    """
    return _read(Path(path), as_label=False)


def read_label(path: str | os.PathLike[str]) -> Volume:
    """Read a labelmap from the same kinds of files as `read_volume`.

    Returns:
        The label, (I, J, K), in the smallest unsigned integers that hold its values; 0 is background.

    Raises:
        VolumeError: as `read_volume`; or values that are fractional, not finite, negative or above 2**31 - 1; or
            colours, or JPEG pictures.
    """
    volume = _read(Path(path), as_label=True)
    return replace(volume, array=label_values(volume.array, Path(path).name))


def read_grid(path: str | os.PathLike[str]) -> Volume:
    """Where the voxels of an image lie, without their values if its header can tell (NIfTI): these are 0 then.

    Raises:
        VolumeError: as `read_volume`.
    """
    path = Path(path)
    if _suffix(path) not in _NIFTI_SUFFIXES or not path.is_file():
        return read_volume(path)
    shape, affine, other = grid_of_nifti(path)
    return _named(path, np.broadcast_to(np.uint8(0), shape), affine, other)


def read_label_of(path: str | os.PathLike[str], image: Volume) -> np.ndarray:
    """Read a labelmap for an image, in any of the files of `read_label`, on the image's grid.

    Pictures belong to the slices whose pictures have their names.

    Returns:
        (I, J, K) as `label_on_grid` gives them.

    Raises:
        VolumeError: as `read_label`.
        GridError: as `label_on_grid`; or the label is pictures that cannot be told to belong to the image's slices.
    """
    path = Path(path)
    masks = _pictures_of(path)
    if not masks:
        return label_on_grid(read_label(path), image)
    images = _pictures_of(image.path) if image.path is not None else []
    if not images:
        label = read_label(path)
        if label.shape != image.shape:
            raise GridError(
                f"The label is pictures of {shape_text(label.shape)} pixels and the image a file of "
                f"{shape_text(image.shape)} voxels: nothing tells where they belong. Give the label as NIfTI or NRRD."
            )
        return label_on_grid(label, image)
    matched = by_slice(masks, images, path.name)
    there = [index for index, file in enumerate(matched) if file is not None]
    files = [file for file in matched if file is not None]
    painted = label_values(read_pictures(files, as_label=True), path.name)
    if painted.shape[:2] != image.shape[:2]:
        raise GridError(
            f"The pictures of the label are {shape_text(painted.shape[:2])} pixels, those of the image "
            f"{shape_text(image.shape[:2])}: both must have one size."
        )
    result = np.zeros(image.shape, painted.dtype)
    result[..., there] = painted
    return result


def _pictures_of(path: Path) -> list[Path]:
    """The pictures that `read_volume` would read there; none when it is anything else."""
    if path.is_dir():
        from slmsam2.volume.dicom import series_in

        return [] if series_in(path) else pictures_in(path)
    return [path] if path.is_file() and is_picture(path) else []


def write_label(
    path: str | os.PathLike[str],
    array: np.ndarray,
    like: Volume,
    *,
    dtype: np.dtype | None = None,
    compress: bool = True,
) -> None:
    """Write a labelmap with the geometry of an image, under a temporary name that is then moved into place.

    Args:
        path: .nii, .nii.gz, .nrrd or .mha.
        array: (I, J, K) integers or booleans, none negative.
        like: the volume whose grid the label lies on.
        dtype: on disk; None: the smallest unsigned one that holds the values.
        compress: whether formats that can be either (.nrrd, .mha) are compressed.

    Raises:
        VolumeError: another kind of file or of values, values that `dtype` cannot hold, another shape than `like`.
        StorageError: the disk is full, or the file cannot be written.
    """
    path = Path(path)
    array = np.asarray(array)
    if array.shape != like.shape:
        raise VolumeError(
            f"A label of {shape_text(array.shape)} voxels cannot be written for an image of "
            f"{shape_text(like.shape)}: give it on the image's grid."
        )
    if array.dtype.kind not in "bui" or array.min() < 0:
        raise VolumeError("Label values must be whole numbers from 0: convert them before writing.")
    if dtype is None:
        dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else np.min_scalar_type(array.max())
    dtype = np.dtype(dtype)
    if dtype.kind in "iu" and array.max() > np.iinfo(dtype).max:
        raise VolumeError(f"The label's value {array.max()} does not fit into {dtype}: choose a larger type.")
    array = array.astype(dtype, copy=False)
    suffix = _suffix(path)
    if suffix not in (*_NIFTI_SUFFIXES, *_WRITTEN_ITK_SUFFIXES):
        raise VolumeError(f"A label cannot be written as '{path.name}': use .nii, .nii.gz, .nrrd or .mha.")
    try:
        with staged_path(path, suffix) as temporary:
            if suffix in _NIFTI_SUFFIXES:
                nifti_image(array, like).to_filename(temporary)
            else:
                from slmsam2.volume.itk import write_itk

                write_itk(temporary, array, like, compress=compress)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"'{path.name}' cannot be written. Check the folder and its free space."
        ) from error


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def _read(path: Path, as_label: bool) -> Volume:
    if path.is_dir():
        return _read_folder(path, as_label)
    if not path.is_file():
        raise VolumeError(f"'{path.name}' does not exist. Check the path.")
    suffix = _suffix(path)
    if suffix in _NIFTI_SUFFIXES:
        return _named(path, *read_nifti(path, as_label=as_label))
    if suffix in _ITK_SUFFIXES:
        from slmsam2.volume.itk import read_itk

        return _named(path, *read_itk(path))
    if is_picture(path):
        return _picture(path, as_label)
    from slmsam2.volume.dicom import read_dicom_file
    from slmsam2.volume.dicom_header import is_dicom

    if suffix in _DICOM_SUFFIXES or is_dicom(path):
        return read_dicom_file(path)
    raise VolumeError(f"'{path.name}' is not a kind of file that can be read. Give {_READABLE}.")


def _read_folder(folder: Path, as_label: bool) -> Volume:
    from slmsam2.volume.dicom import read_dicom_series, series_in

    series = series_in(folder)
    if series:
        return read_dicom_series(series)
    pictures = pictures_in(folder)
    if not pictures:
        raise VolumeError(
            f"The folder '{folder.name}' holds no DICOM series and no pictures. Give the one with the slices."
        )
    return _named(folder, read_pictures(pictures, as_label=as_label), LPS_TO_RAS)


def _picture(path: Path, as_label: bool) -> Volume:
    """A slice whose pixels are as large as ITK, and so 3D Slicer, has them, by a JPEG's dots per inch, else 1 mm."""
    from slmsam2.volume.itk import places_of

    return _named(path, read_pictures([path], as_label=as_label), *places_of(path, LPS_TO_RAS))


def _named(path: Path, array: np.ndarray, affine: np.ndarray, other: np.ndarray | None = None) -> Volume:
    """The volume; an error says which file it was."""
    try:
        return Volume(array, affine, None, path, other)
    except VolumeError as error:
        raise VolumeError(f"'{path.name}': {error}") from error


def label_values(array: np.ndarray, name: str) -> np.ndarray:
    """Label values in the smallest unsigned integers.

    Raises:
        VolumeError: they are not whole numbers from 0 to 2**31 - 1.
    """
    if array.dtype.kind not in "buif":
        raise VolumeError(f"The label '{name}' has values of type {array.dtype}: use whole numbers from 0.")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise VolumeError(f"The label '{name}' has values that are not finite. Save it as whole numbers.")
        whole = np.rint(array)
        if np.abs(array - whole).max() > _WHOLE_NUMBER_TOLERANCE:
            raise VolumeError(
                f"The label '{name}' has fractional values: it looks like an image or a probability map. "
                "Give a labelmap with one whole number per structure."
            )
        array = whole
    lowest, highest = array.min(), array.max()
    if lowest < 0 or highest > LARGEST_LABEL:
        raise VolumeError(
            f"The label '{name}' has values from {lowest:.0f} to {highest:.0f}: use whole numbers from 0 "
            f"(background) to {LARGEST_LABEL}."
        )
    return array.astype(np.min_scalar_type(int(highest)), copy=False)
