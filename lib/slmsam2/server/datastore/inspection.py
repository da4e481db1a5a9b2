"""A look at a file's header before the file is opened: is it all there, and not more than the server takes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import SimpleITK as sitk

from slmsam2.errors import TooLargeError, VolumeError
from slmsam2.volume.dicom_header import is_dicom, read_header
from slmsam2.volume.itk import detached_data
from slmsam2.volume.nifti import DAMAGED
from slmsam2.volume.pictures import is_picture, picture_size

_WITH_HEADER = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}


def inspect(path: Path, most_voxels: int = sys.maxsize) -> int:
    """Look at the header of an image or label, or of all images in a folder.

    Args:
        path: any file or folder; of files other than NIfTI, NRRD, MetaImage, DICOM, PNG and JPEG nothing is looked at.
        most_voxels: bound on the number of voxels.

    Returns:
        The number of its voxels, colours counted apart; 1 for a file of which that is not known before it is read.

    Raises:
        VolumeError: its voxels lie in another file, which a client could choose.
        TooLargeError: it has more voxels than allowed, or says so.
    """
    voxels = 0
    for file in _files_of(path):
        voxels += math.prod(_shape(file))
        if voxels > most_voxels:  # at once: the next file may be as large again
            raise TooLargeError(
                f"The volume has {voxels / 1e6:.0f} million voxels or more; this server takes {most_voxels / 1e6:.0f} "
                "million. Crop or resample it, or raise the server's setting most_megavoxels."
            )
    return voxels


def seems_whole(path: Path) -> bool:
    """Whether a look at an image's header and at the size of its file finds nothing wrong; reading it may, still.

    An image of several volumes is wrong. Of compressed NIfTI the last bytes of the file say how long it was.
    """
    try:
        if path.suffix.lower() in _WITH_HEADER:
            shape = _shape(path)  # colours are its last number
            return bool(shape) and _is_one(shape[:-1])
        if not path.name.lower().endswith((".nii", ".nii.gz")):
            return inspect(path) > 1
        data = nib.load(path).dataobj  # type: ignore[attr-defined]
        if not _is_one(data.shape):
            return False
        needed = data.offset + math.prod(data.shape) * data.dtype.itemsize
        if not path.name.lower().endswith(".gz"):
            return path.stat().st_size >= needed
        with path.open("rb") as file:
            file.seek(-4, 2)
            return int.from_bytes(file.read(4), "little") == needed % 2**32
    except (*DAMAGED, VolumeError):
        return False


def _is_one(sizes: Sequence[int]) -> bool:
    """Whether an image of this size is one volume, or one slice."""
    return all(size == 1 for size in sizes[3:])


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (
            file for file in path.iterdir() if file.is_file() and (is_dicom(file) or is_picture(file))
        )
    else:
        yield path


def _shape(path: Path) -> tuple[int, ...]:
    """() for what is not looked at, and for what is damaged: reading it says how."""
    image_io = _WITH_HEADER.get(path.suffix.lower())
    if path.name.lower().endswith((".nii", ".nii.gz")):
        try:
            return tuple(int(n) for n in nib.load(path).shape)  # type: ignore[attr-defined]
        except DAMAGED:
            return ()
    if not path.is_file():
        return ()
    if is_picture(path):
        try:
            return picture_size(path)
        except VolumeError:
            return ()
    if is_dicom(path):
        try:
            header = read_header(path)
        except VolumeError:
            return ()
        if not header.shape or not header.compressed:
            return header.shape
        image_io = "GDCMImageIO"
    if image_io is None:
        return ()
    if image_io != "GDCMImageIO" and detached_data(path) is not None:
        raise VolumeError(f"The voxels of '{path.name}' are not in the file itself. Save it as one file.")
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return ()
    return (*reader.GetSize(), reader.GetNumberOfComponents())
