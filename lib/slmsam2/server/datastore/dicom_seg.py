"""DICOM SEG files of labels, by the tools that MONAI Label brings (dcmqi, pydicom-seg)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from monailabel.datastore.utils.convert import dicom_seg_to_itk_image, nifti_to_dicom_seg
from pydicom.errors import InvalidDicomError

from slmsam2.errors import VolumeError
from slmsam2.files import write_whole
from slmsam2.values import present_values
from slmsam2.volume import Volume, read_label, write_label


def read_segmentation(path: Path) -> Volume:
    """The label of a DICOM SEG object: segment numbers on the grid of its frames.

    Raises:
        VolumeError: it is damaged, or of a kind that cannot be read.
    """
    try:
        written = Path(dicom_seg_to_itk_image(str(path)))
    except (InvalidDicomError, ValueError, KeyError, AttributeError, RuntimeError, OSError) as error:
        raise VolumeError(
            f"'{path.name}' is damaged, or no DICOM SEG that can be read. Export the label as NIfTI."
        ) from error
    try:
        return read_label(written)
    finally:
        written.unlink()


def find_dcmqi() -> None:
    """Let dcmqi's programs be found beside the interpreter, also in an environment that is not activated.

    From then on this process's search path ends there: to take it off again would take it from other threads.
    """
    path, folder = os.environ.get("PATH", ""), str(Path(sys.executable).parent)
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([path, folder])


def write_segmentation(path: Path, label: Volume, names: Mapping[str, int], series: Path) -> None:
    """Write a label as DICOM SEG that refers to an image series.

    Args:
        path: file to write.
        label: on the grid of the series.
        names: structure -> value, of all values in the label.
        series: folder with the series' files, and nothing else.

    Raises:
        VolumeError: nothing is in the label, or it does not fit the series.
    """
    present = present_values(label.array)
    if not present:
        raise VolumeError(f"Nothing is in the label for '{path.name}': a DICOM SEG cannot be empty.")
    by_value = {value: name for name, value in names.items()}
    info = [
        {"name": by_value.get(value, f"structure_{value}"), "model_name": "SLM-SAM 2"} for value in present
    ]
    find_dcmqi()
    with tempfile.TemporaryDirectory() as folder:
        nifti = Path(folder) / "label.nii.gz"
        write_label(nifti, label.array, label)
        written = Path(nifti_to_dicom_seg(str(series), str(nifti), info))
    if not written.is_file():
        raise VolumeError(f"'{path.name}' cannot be made: the label does not fit the series in '{series}'.")
    try:
        write_whole(path, lambda stream: stream.write(written.read_bytes()))
    finally:
        written.unlink()
