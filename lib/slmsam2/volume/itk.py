"""SimpleITK images to and from stored arrays: (k, j, i) and LPS there, (i, j, k) and RAS+ here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from slmsam2.errors import VolumeError
from slmsam2.volume.volume import LPS_TO_RAS, Volume, shape_text


def read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a NRRD or MetaImage file.

    Returns:
        array (I, J, K) and affine (4, 4), RAS+ mm.

    Raises:
        VolumeError: unreadable, several components per voxel, or not 3D.
    """
    try:
        image = sitk.ReadImage(str(path))
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


def affine_of(image: sitk.Image) -> np.ndarray:
    """Voxel index -> position in mm, RAS+, (4, 4) float64; a 2D image lies in the plane z = 0."""
    dimensions = image.GetDimension()
    used = min(dimensions, 3)
    lps = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:used, :used]
    lps[:used, :used] = direction * np.array(image.GetSpacing()[:used])
    lps[:used, 3] = image.GetOrigin()[:used]
    return LPS_TO_RAS @ lps


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
