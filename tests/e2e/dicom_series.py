"""Real volumes as DICOM series, the way a scanner would send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}


@dataclass(frozen=True)
class Series:
    """A DICOM series and the volume it was made of.

    Attributes:
        array: int16 (I, J, K) on the series' own grid: column, row, slice, slices ascending along row x column.
        label: uint8 (I, J, K), structures on the same grid; None where the volume has none.
        lps: 4 x 4, voxel (i, j, k) -> mm, left-posterior-superior.
    """

    files: list[Path]
    array: np.ndarray
    label: np.ndarray | None
    lps: np.ndarray
    modality: str
    study: str = field(default_factory=generate_uid)
    uid: str = field(default_factory=generate_uid)


def make_series(
    image: Path,
    folder: Path,
    modality: str,
    orientation: str,
    label: Path | None = None,
    study: str = "",
    tilt: float = 0.0,
) -> Series:
    """Write a NIfTI volume as a DICOM series.

    Args:
        orientation: nibabel axis codes of column, row and slice direction, such as "LPS" for axial slices from the
            feet up, "PIL"[::1] for sagittal ones.
        label: its labels.
        study: UID of the study it belongs to; a new one if empty.
        tilt: degrees by which the volume is turned about the patient's left-right axis.
    """
    volume = _turned(image, orientation)
    series = Series(
        [],
        np.asarray(volume.dataobj).astype(np.int16),
        None if label is None else np.asarray(_turned(label, orientation).dataobj).astype(np.uint8),
        _turn(tilt) @ np.diag([-1, -1, 1, 1]) @ volume.affine,
        modality,
        study or generate_uid(),
    )
    folder.mkdir(parents=True)
    frame = generate_uid()
    for k in range(series.array.shape[2]):
        path = folder / f"{k:04d}.dcm"
        _dataset(series, k, frame).save_as(path, write_like_original=False)
        series.files.append(path)
    return series


def _turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def _turned(path: Path, orientation: str) -> nib.Nifti1Image:
    volume = nib.load(path)
    have = nib.orientations.io_orientation(volume.affine)
    want = nib.orientations.axcodes2ornt(orientation)
    return volume.as_reoriented(nib.orientations.ornt_transform(have, want))


def _dataset(series: Series, k: int, frame: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[series.modality]
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = series.study, series.uid, frame
    ds.PatientID = ds.PatientName = f"TEST-{series.study[-6:]}"
    ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 1, k + 1
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20240101"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "120000"
    ds.Modality, ds.SeriesDescription, ds.StudyDescription = series.modality, series.modality, "Test"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    _place(ds, series.lps, k)
    pixels = np.ascontiguousarray(series.array[:, :, k].T)
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    low, high = np.percentile(series.array, [2, 99.5])
    ds.WindowWidth, ds.WindowCenter = (400, 40) if series.modality == "CT" else (high - low, (high + low) / 2)
    ds.PixelData = pixels.tobytes()
    return ds


def _place(ds: FileDataset, lps: np.ndarray, k: int) -> None:
    """Position, orientation and spacing of slice k; ``lps``: 4 x 4, voxel (i, j, k) -> mm, left-posterior-superior."""
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    column, row, normal = (lps[:3, :3] / spacing).T
    if np.dot(np.cross(column, row), normal) < 0:
        raise ValueError("the orientation must be right-handed, or slices would descend")
    ds.ImageOrientationPatient = [f"{v:.6f}" for v in (*column, *row)]
    ds.ImagePositionPatient = [f"{v:.4f}" for v in (lps @ [0, 0, k, 1])[:3]]
    ds.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
    ds.SliceThickness = ds.SpacingBetweenSlices = f"{spacing[2]:.6f}"
