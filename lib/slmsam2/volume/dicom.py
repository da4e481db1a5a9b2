"""DICOM: a folder of slices, or a single file (a slice, an enhanced volume, an ultrasound clip)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.errors import BytesLengthException, InvalidDicomError

from slmsam2.errors import VolumeError
from slmsam2.volume.itk import affine_of, array_of
from slmsam2.volume.pictures import luminance
from slmsam2.volume.volume import Volume

logger = logging.getLogger(__name__)

_TAGS = ["Modality", "NumberOfFrames", "ImagePositionPatient"]
_OBJECTS_WITHOUT_IMAGE = ("SEG", "RTSTRUCT", "SR", "KO", "PR", "RTPLAN")
_UNREADABLE = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,  # pydicom's own word for a compression that nothing here decodes
    struct.error,
)
_PREFIX_LENGTH, _MAGIC = 128, b"DICM"


@dataclass(frozen=True)
class _Header:
    """The few header fields needed here: the patient position is LPS mm, None when there is none."""

    modality: str | None
    frames: int
    position: tuple[float, ...] | None


def is_dicom(path: Path) -> bool:
    """Whether a file carries the DICOM mark after its 128-byte preamble."""
    try:
        with path.open("rb") as file:
            return file.read(_PREFIX_LENGTH + len(_MAGIC))[_PREFIX_LENGTH:] == _MAGIC
    except OSError:
        return False


def series_in(folder: Path) -> list[list[Path]]:
    """The DICOM series of a folder, the longest first, each sorted by position along the slice normal."""
    reader = sitk.ImageSeriesReader
    series = []
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        files = [Path(name) for name in reader.GetGDCMSeriesFileNames(str(folder), uid)]
        if _header(files[0]).modality not in _OBJECTS_WITHOUT_IMAGE:
            series.append(files)
    return sorted(series, key=len, reverse=True)


def read_dicom_series(series: list[list[Path]]) -> Volume:
    """Read the longest series of a folder (`series_in`).

    Raises:
        VolumeError: unreadable, of mixed sizes, or with several images at one position.
    """
    files = series[0]
    if len(series) > 1:
        lengths = ", ".join(str(len(each)) for each in series)
        logger.warning(
            "'%s' holds %d DICOM series (files: %s): the longest one is read.",
            files[0].parent.name,
            len(series),
            lengths,
        )
    headers = [_header(file) for file in files]
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
    header = _header(path)
    if header.modality in _OBJECTS_WITHOUT_IMAGE:
        raise VolumeError(
            f"'{path.name}' is a DICOM {header.modality} object, not an image. "
            "Export it as a labelmap (NIfTI or NRRD)."
        )
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(f"'{path.name}' is damaged or holds no DICOM image. Export it again.") from error
    return _volume(image, path, header)


def _volume(image: sitk.Image, path: Path, header: _Header) -> Volume:
    array = array_of(image, path.name)
    if array.ndim == 4:
        array = luminance(array)
    return Volume(array, affine_of(image), header.modality, path)


def _header(path: Path) -> _Header:
    """Read the header; VolumeError when there is none, or a damaged one."""
    try:
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        position = tags.get("ImagePositionPatient")
        return _Header(
            modality=str(tags.get("Modality") or "").strip().upper() or None,
            frames=int(tags.get("NumberOfFrames") or 1),
            position=tuple(float(each) for each in position) if position else None,
        )
    except _UNREADABLE as error:
        raise VolumeError(f"'{path.name}' is damaged or not a DICOM file. Export it again.") from error


def _check_positions(headers: Sequence[_Header], volume: Volume, name: str) -> None:
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
