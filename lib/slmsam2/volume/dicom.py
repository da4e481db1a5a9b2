"""DICOM: a folder of slices, or a single file (a slice, an enhanced volume, an ultrasound clip)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from slmsam2.errors import VolumeError
from slmsam2.volume.dicom_header import Header, is_dicom, read_header
from slmsam2.volume.itk import affine_of, array_of
from slmsam2.volume.pictures import luminance
from slmsam2.volume.volume import Volume

logger = logging.getLogger(__name__)

_OBJECTS_WITHOUT_IMAGE = ("SEG", "RTSTRUCT", "SR", "KO", "PR", "RTPLAN")


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
        VolumeError: unreadable, of mixed sizes, or with several images at one position.
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
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(
            f"The DICOM series in '{files[0].parent.name}' cannot be read: a slice is damaged or of "
            "another size. Export the series again, alone in its folder."
        ) from error
    volume = _volume(image, files[0].parent, headers[0])
    _check_positions(headers, volume, files[0].parent.name)
    return volume


def read_dicom_file(path: Path) -> Volume:
    """Read one DICOM file; the frames of a clip become the third axis.

    Raises:
        VolumeError: damaged, without pixels, or a segmentation or structure set.
    """
    header = read_header(path)
    if not _shows_an_image(header):
        raise VolumeError(
            f"'{path.name}' is a DICOM {header.modality} object, not an image. "
            "Export it as a labelmap (NIfTI or NRRD)."
        )
    if not header.shape:
        raise VolumeError(_no_image(path))
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(_no_image(path)) from error
    return _volume(image, path, header)


def _no_image(path: Path) -> str:
    return f"'{path.name}' is damaged or holds no DICOM image. Export it again."


def _volume(image: sitk.Image, path: Path, header: Header) -> Volume:
    array = array_of(image, path.name)
    if array.ndim == 4:
        array = luminance(array)
    return Volume(array, affine_of(image), header.modality, path)


def _check_positions(headers: Sequence[Header], volume: Volume, name: str) -> None:
    """Compare where each slice says it is with where the volume's affine puts it."""
    stated = [header.position for header in headers]
    if any(position is None or len(position) != 3 for position in stated):
        logger.warning("'%s' has slices without a position: they are in file order.", name)
        return
    positions = np.array(stated, dtype=np.float64) * [-1, -1, 1]
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if steps.min() < 1e-3:
        raise VolumeError(
            f"The DICOM series in '{name}' has several images at one position (time points, "
            "echoes or repeats). Export a single one of them."
        )
    expected = volume.affine[:3, 3] + np.arange(len(headers))[:, None] * volume.affine[:3, 2]
    furthest = np.linalg.norm(positions - expected, axis=1).max()
    if furthest > 0.1 * volume.spacing[2]:
        logger.warning(
            "'%s': slices are missing, unevenly spaced or tilted; positions are off by up to %.1f mm.",
            name,
            furthest,
        )
