"""SimpleITK images to and from stored arrays: (k, j, i) and LPS there, (i, j, k) and RAS+ here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from slmsam2.errors import VolumeError
from slmsam2.volume.volume import LPS_TO_RAS, Places, Volume, alike, shape_text

_LONGEST_HEADER = 2**20  # bytes


def read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NRRD or MetaImage file.

    Returns:
        array (I, J, K) and affine (4, 4), RAS+ mm.

    Raises:
        VolumeError: unreadable, several components per voxel, not 3D, or with voxels outside the file's own folder.
    """
    data = detached_data(path)
    if data is not None and Path(data).name != data:
        raise VolumeError(
            f"The voxels of '{path.name}' are in another folder ({data[:100]!r}). Save it again as one file."
        )
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if path.suffix.lower() in (".nrrd", ".nhdr") else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(
            f"'{path.name}' cannot be read: it is damaged, incomplete or not an image of "
            "this kind. Save it again."
        ) from error
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise VolumeError(
            f"'{path.name}' holds {image.GetNumberOfComponentsPerPixel()} values per voxel (colours, or a "
            "segmentation in several layers). Export it as one labelmap or one grey image."
        )
    return array_of(image, path.name), affine_of(image)


def detached_data(path: Path) -> str | None:
    """The file that holds the voxels, as the header of a NRRD or MetaImage file names it; None: the file itself.

    Raises:
        VolumeError: the header does not end, or its data are a list of files.
    """
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    field = re.compile(rb"\s*data *file:(.*)" if nrrd else rb"\s*ElementDataFile\s*[=:](.*)", re.IGNORECASE)
    name = None
    for line in _header_lines(path, nrrd):
        found = field.match(line)
        if found:
            name = found[1].strip().decode(errors="replace")
            if not nrrd:
                break
    else:
        if not nrrd:
            raise VolumeError(f"'{path.name}' is damaged: its header does not end. Save it again.")
    if name is not None and (not name or re.match(r"LIST\b|.*%", name)):
        raise VolumeError(f"The voxels of '{path.name}' are in several files. Save it again as one file.")
    return None if name is None or (not nrrd and name.upper() == "LOCAL") else name


def _header_lines(path: Path, nrrd: bool) -> Iterator[bytes]:
    """The lines of a header; that of NRRD ends with an empty one."""
    with path.open("rb") as stream:
        content = stream.read(_LONGEST_HEADER)
    for line in re.split(rb"\r\n|\n|\r", content):
        if nrrd and not line:
            return
        yield line
    if nrrd and len(content) == _LONGEST_HEADER:
        raise VolumeError(f"'{path.name}' is damaged: its header does not end. Save it again.")


def array_of(image: sitk.Image, name: str) -> np.ndarray:
    """The voxels as (I, J, K), or (I, J, K, C) for C components; `name` is for the error message."""
    size = image.GetSize()
    if len(size) > 3 and any(extent > 1 for extent in size[3:]):
        raise VolumeError(
            f"'{name}' has {len(size)} dimensions ({shape_text(size)}): one 3D volume is needed. "
            "Export a single time point or channel."
        )
    components = image.GetNumberOfComponentsPerPixel()
    array = sitk.GetArrayFromImage(image)
    if components > 1:
        array = np.moveaxis(array, -1, 0)  # components first, so that the voxel axes can be turned round
    spatial = (*size, 1)[:3]
    array = array.reshape((components, *spatial[::-1]) if components > 1 else spatial[::-1])
    return array.T


def affine_of(image: sitk.Image | sitk.ImageFileReader) -> np.ndarray:
    """Voxel index -> position in mm, RAS+, (4, 4) float64; a 2D image lies in the plane z = 0."""
    dimensions = image.GetDimension()
    used = min(dimensions, 3)
    lps = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:used, :used]
    lps[:used, :used] = direction * np.array(image.GetSpacing()[:used])
    lps[:used, 3] = image.GetOrigin()[:used]
    return LPS_TO_RAS @ lps


def places_of(path: Path, others: np.ndarray) -> Places:
    """Where a file's image lies.

    Args:
        others: affine (4, 4), RAS+ mm, by which other programs have it.

    Returns:
        The affine that ITK, and so 3D Slicer, takes from its header; and the other one, None where that is alike or ITK
        cannot read the file.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return others, None
    affine = affine_of(reader)
    return (others, None) if alike(affine, others) else (affine, others)


def write_itk(path: Path, array: np.ndarray, like: Volume, *, compress: bool) -> None:
    """Write a NRRD or MetaImage file of `array` (I, J, K) with the geometry of `like`.

    Raises:
        RuntimeError: it cannot be written.
    """
    sitk.WriteImage(itk_image(array, like), str(path), useCompression=compress)


def itk_image(array: np.ndarray, like: Volume) -> sitk.Image:
    """An image of `array` (I, J, K) with the geometry of `like`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    lps = LPS_TO_RAS @ like.affine
    spacing = np.array(like.spacing)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
