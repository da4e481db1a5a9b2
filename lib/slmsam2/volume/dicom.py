"""DICOM: a folder of slices, or a single file (a slice, an enhanced volume, an ultrasound clip)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from slmsam2.errors import VolumeError
from slmsam2.volume.dicom_header import Header, Plane, is_dicom, read_header
from slmsam2.volume.itk import affine_of, array_of
from slmsam2.volume.pictures import luminance
from slmsam2.volume.volume import LPS_TO_RAS, Volume

logger = logging.getLogger(__name__)

_OBJECTS_WITHOUT_IMAGE = ("SEG", "RTSTRUCT", "SR", "KO", "PR", "RTPLAN")
# Images nearer to each other than so many mm are at one position.
_SAME_PLACE = 1e-3
# Of the angle between two slices of one stack: 45 degrees.
_LEAST_COSINE = 0.7


def series_in(folder: Path) -> list[dict[Path, Header]]:
    """The DICOM series of a folder with their files' headers, the longest first, each sorted by position along the
    slice normal.

    Raises:
        VolumeError: one of the files is damaged.
    """
    there = sorted(path for path in folder.iterdir() if path.is_file())
    headers = {path: read_header(path) for path in there if is_dicom(path)}
    series = [
        files
        for files in _sorted_by_gdcm(list(headers), alone=len(headers) == len(there))
        if _shows_an_image(headers[files[0]])
    ]
    return [{path: headers[path] for path in files} for files in sorted(series, key=len, reverse=True)]


def _sorted_by_gdcm(files: Sequence[Path], *, alone: bool) -> list[list[Path]]:
    """Files of one folder by series, in order; ``alone``: nothing else is there.

    GDCM sorts whole folders only, and would try to read whatever else is in them: then it gets one with links.
    """
    if not files:
        return []
    if alone:
        folder = files[0].parent
        return [[folder / Path(name).name for name in names] for names in _series_names(folder)]
    with tempfile.TemporaryDirectory() as links:
        for number, path in enumerate(files):
            Path(links, str(number)).symlink_to(path.absolute())
        return [[files[int(Path(name).name)] for name in names] for names in _series_names(Path(links))]


def _series_names(folder: Path) -> list[tuple[str, ...]]:
    reader = sitk.ImageSeriesReader
    uids = reader.GetGDCMSeriesIDs(str(folder))
    return [reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in uids]


def _shows_an_image(header: Header) -> bool:
    return header.modality not in _OBJECTS_WITHOUT_IMAGE


def read_dicom_series(series: Sequence[dict[Path, Header]]) -> Volume:
    """Read the longest series of a folder (`series_in`).

    Raises:
        VolumeError: unreadable, of mixed sizes, with several images at one position, or with slices in several planes.
    """
    files, headers = list(series[0]), list(series[0].values())
    if len(series) > 1:
        lengths = ", ".join(str(len(each)) for each in series)
        logger.warning(
            "'%s' holds %d DICOM series (files: %s): the longest one is read.",
            files[0].parent.name,
            len(series),
            lengths,
        )
    frames = [header.frames for header in headers]
    if max(frames) > 1 or len(files) == 1:
        if len(files) > 1:
            logger.warning("The series holds %d multi-frame files: the longest one is read.", len(files))
        return read_dicom_file(files[int(np.argmax(frames))])
    planes = [plane for header in headers for plane in header.planes]
    _check_one_stack(planes, files[0].parent.name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    if len({plane.rescaling for plane in planes}) > 1:
        reader.SetOutputPixelType(sitk.sitkFloat64)  # else the type that suits the values of the first file
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(
            f"The DICOM series in '{files[0].parent.name}' cannot be read: a slice is damaged or of "
            "another size. Export the series again, alone in its folder."
        ) from error
    volume = _volume(image, files[0].parent, headers[0])
    _check_places(planes, volume, files[0].parent.name)
    return volume


def read_dicom_file(path: Path) -> Volume:
    """Read one DICOM file; the frames of a clip become the third axis.

    Raises:
        VolumeError: damaged, without pixels, or a segmentation or structure set; or its frames are no stack, as they
            are in several planes, or several at one position.
    """
    header = read_header(path)
    if not _shows_an_image(header):
        raise VolumeError(
            f"'{path.name}' is a DICOM {header.modality} object, not an image. "
            "Export it as a labelmap (NIfTI or NRRD)."
        )
    if not header.shape:
        raise VolumeError(_no_image(path))
    if header.frames > 1:
        _check_one_stack(header.planes, path.name)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(_no_image(path)) from error
    volume = _volume(image, path, header)
    return _by_frames(volume, header.planes, path.name) if len(header.planes) > 1 else volume


def _no_image(path: Path) -> str:
    return f"'{path.name}' is damaged or holds no DICOM image. Export it again."


def _volume(image: sitk.Image, path: Path, header: Header) -> Volume:
    array = array_of(image, path.name)
    if array.ndim == 4:
        array = luminance(array)
    return Volume(array, affine_of(image), header.modality, path)


def _by_frames(volume: Volume, planes: Sequence[Plane], name: str) -> Volume:
    """The frames of a file with the values and in the place that each of them states.

    GDCM scales the values of all by what the first one says, and knows where they lie only if each follows the one
    before evenly and straight above it.
    """
    array = volume.array
    if len({plane.rescaling for plane in planes}) > 1:
        slopes, intercepts = np.array([plane.rescaling for plane in planes]).T
        array = (array - intercepts[0]) / slopes[0] * slopes + intercepts
    positions = _positions(planes)
    if positions is None or not planes[0].spacing:
        return replace(volume, array=array)
    heights = _heights(planes, positions)
    order = np.arange(len(planes)) if (np.diff(heights) < 0).all() else np.argsort(heights)
    planes, positions = [planes[index] for index in order], positions[order]
    lps = np.eye(4)
    lps[:3, :2] = np.reshape(planes[0].directions, (2, 3)).T * planes[0].spacing[::-1]
    lps[:3, 2] = (positions[-1] - positions[0]) / (len(planes) - 1)
    lps[:3, 3] = positions[0]
    placed = Volume(array[..., order], LPS_TO_RAS @ lps, volume.modality, volume.path)
    _check_places(planes, placed, name)
    return placed


def _positions(planes: Sequence[Plane]) -> np.ndarray | None:
    """Of the first voxels, (N, 3), LPS mm; None where one is not stated."""
    return np.array([plane.position for plane in planes]) if all(plane.position for plane in planes) else None


def _heights(planes: Sequence[Plane], positions: np.ndarray) -> np.ndarray:
    """How far along the normal of the first plane each lies, (N,), mm."""
    return positions @ np.cross(planes[0].directions[:3], planes[0].directions[3:])


def _check_one_stack(planes: Sequence[Plane], name: str) -> None:
    """Refuse what has no order of slices.

    Raises:
        VolumeError: several images at one position, or planes that stand across each other.
    """
    positions = _positions(planes)
    if positions is None or not planes:
        return
    normals = np.cross(*np.reshape([plane.directions for plane in planes], (-1, 2, 3)).swapaxes(0, 1))
    if np.abs(normals @ normals[0]).min() < _LEAST_COSINE:
        raise VolumeError(
            f"'{name}' holds slices in several planes, as a localizer has them. Export those of a single one."
        )
    if np.diff(np.sort(_heights(planes, positions))).min() < _SAME_PLACE:
        raise VolumeError(
            f"'{name}' holds several images at one position (time points, echoes or repeats). "
            "Export a single one of them."
        )


def _check_places(planes: Sequence[Plane], volume: Volume, name: str) -> None:
    """Compare where each slice says it is with where the volume's affine puts it."""
    stated = _positions(planes)
    if stated is None:
        logger.warning("'%s' has slices without a position: they are in file order.", name)
        return
    expected = volume.affine[:3, 3] + np.arange(len(planes))[:, None] * volume.affine[:3, 2]
    furthest = np.linalg.norm(stated * [-1, -1, 1] - expected, axis=1).max()
    if furthest > 0.1 * volume.spacing[2]:
        logger.warning(
            "'%s': slices are missing, unevenly spaced or tilted; positions are off by up to %.1f mm.",
            name,
            furthest,
        )
