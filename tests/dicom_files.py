"""DICOM files: those that come with pydicom, and some written with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_CLASS, CLIP_CLASS = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.3.1"
ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.1"
AXIAL = (1, 0, 0, 0, 1, 0)


def real_dicom(name: str) -> Path:
    """One of the files that come with pydicom, by its name without ending: they are from many makers."""
    return Path(pydicom.data.__file__).parent / "test_files" / f"{name}.dcm"


def write_dicom(path: Path, pixels: np.ndarray, **fields: Any) -> None:
    """One file of pixels: (rows, columns), (frames, rows, columns) or (frames, rows, columns, 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = fields.pop("SOPClassUID", CLIP_CLASS if pixels.ndim > 2 else CT_CLASS)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = "1.2.3"
    bits = pixels.dtype.itemsize * 8
    data.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    data.PhotometricInterpretation = "RGB" if pixels.ndim == 4 else "MONOCHROME2"
    if pixels.ndim == 4:
        data.PlanarConfiguration = 0
    if pixels.ndim > 2:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[1:3] if pixels.ndim > 2 else pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.save_as(path, write_like_original=False)


def write_series(folder: Path, positions: list[float], uid: str = "1.2.3.1") -> np.ndarray:
    """CT slices of 4 rows and 6 columns, the value telling position, row and column; in (k, row, column)."""
    folder.mkdir(exist_ok=True)
    slices = (
        np.arange(24, dtype=np.int16).reshape(4, 6)
        + 100 * np.arange(len(positions), dtype=np.int16)[:, None, None]
    )
    for index, position in enumerate(positions):
        write_dicom(
            folder / f"{uid}_{(index * 7) % 11:02d}.dcm",
            slices[index],
            SeriesInstanceUID=uid,
            Modality="CT",
            InstanceNumber=len(positions) - index,
            ImagePositionPatient=[-10.0, 20.0, position],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.5, 0.75],
            RescaleSlope=1,
            RescaleIntercept=-1024,
        )
    return slices - 1024


def write_frames(
    path: Path,
    positions: list[list[float]],
    directions: Sequence[float] = AXIAL,
    slopes: Sequence[float] = (),
) -> np.ndarray:
    """An enhanced CT of frames of 4 rows and 6 columns with a position each; pixels in (frame, row, column).

    With slopes, one for each frame, the values are these times the pixels.
    """
    pixels = np.arange(24 * len(positions), dtype=np.int16).reshape(-1, 4, 6)
    shared = [
        ("PixelMeasuresSequence", {"PixelSpacing": [0.5, 0.75], "SliceThickness": 2.5}),
        ("PlaneOrientationSequence", {"ImageOrientationPatient": list(directions)}),
    ]
    frames = [[("PlanePositionSequence", {"ImagePositionPatient": position})] for position in positions]
    for frame, slope in zip(frames, slopes, strict=False):
        values = {"RescaleSlope": slope, "RescaleIntercept": 0, "RescaleType": "US"}
        frame.append(("PixelValueTransformationSequence", values))
    write_dicom(
        path,
        pixels,
        SOPClassUID=ENHANCED_CT_CLASS,
        SeriesInstanceUID="1.2.3.9",
        Modality="CT",
        SharedFunctionalGroupsSequence=[_groups(shared)],
        PerFrameFunctionalGroupsSequence=[_groups(frame) for frame in frames],
    )
    return pixels


def _groups(groups: Sequence[tuple[str, dict[str, Any]]]) -> Dataset:
    item = Dataset()
    for name, fields in groups:
        group = Dataset()
        for field, value in fields.items():
            setattr(group, field, value)
        setattr(item, name, [group])
    return item
