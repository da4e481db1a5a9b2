"""DICOM folders and files, written here with pydicom."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_files import write_dicom, write_series
from slmsam2.errors import VolumeError
from slmsam2.volume import SliceView, read_volume

pytestmark = pytest.mark.unit


def test_series_is_sorted_by_position(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "series", [30.0, 32.5, 35.0, 37.5])
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(volume.array, slices.transpose(2, 1, 0))
    np.testing.assert_allclose(
        volume.affine, [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]], atol=1e-6
    )
    assert volume.modality == "CT"
    stack = SliceView(volume.shape, volume.affine, 2).to_stack(volume.array)
    np.testing.assert_array_equal(stack, slices)  # DICOM's own rows and columns are upright


def test_longest_series_is_taken_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "study"
    write_series(folder, [0.0, 2.0], uid="1.2.3.5")
    write_series(folder, [0.0, 2.0, 4.0], uid="1.2.3.6")
    with caplog.at_level(logging.WARNING, logger="slmsam2.volume"):
        assert read_volume(folder).shape == (6, 4, 3)
    assert "2 DICOM series (files: 3, 2)" in caplog.text


def test_missing_slices_are_said_and_repeated_positions_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "gap", [0.0, 2.0, 4.0, 10.0])
    with caplog.at_level(logging.WARNING, logger="slmsam2.volume"):
        assert read_volume(tmp_path / "gap").shape == (6, 4, 4)
    assert "missing, unevenly spaced or tilted" in caplog.text
    write_series(tmp_path / "phases", [0.0, 0.0, 2.0, 2.0])
    with pytest.raises(VolumeError, match="several images at one position"):
        read_volume(tmp_path / "phases")


@pytest.mark.parametrize("in_folder", [False, True])
def test_colour_clip(tmp_path: Path, in_folder: bool) -> None:
    clip = np.zeros((5, 3, 4, 3), np.uint8)
    clip[2, 1, 3] = (200, 0, 0)
    clip[4, 0, 0] = (255, 255, 255)
    write_dicom(tmp_path / "clip", clip, Modality="US", SeriesInstanceUID="1.2.3.7")
    volume = read_volume(tmp_path if in_folder else tmp_path / "clip")
    assert volume.shape == (4, 3, 5)
    assert volume.array.dtype == np.uint8
    assert (volume.array[3, 1, 2], volume.array[0, 0, 4], np.count_nonzero(volume.array)) == (60, 255, 2)
    assert volume.modality == "US"
    np.testing.assert_array_equal(volume.affine, np.diag([-1, -1, 1, 1]))


def test_single_slice_and_damaged_files(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "one", [12.0])
    path = next((tmp_path / "one").iterdir())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, slices.transpose(2, 1, 0))
    assert volume.affine[2, 3] == 12.0
    assert read_volume(tmp_path / "one").shape == (6, 4, 1)
    content = path.read_bytes()
    for keep in (140, 400, len(content) - 30):
        path.write_bytes(content[:keep])
        with pytest.raises(VolumeError):
            read_volume(path)
        with pytest.raises(VolumeError):
            read_volume(tmp_path / "one")


def test_segmentation_objects_are_refused(tmp_path: Path) -> None:
    write_dicom(
        tmp_path / "seg.dcm", np.ones((2, 4, 4), np.uint8), Modality="SEG", SeriesInstanceUID="1.2.3.8"
    )
    with pytest.raises(VolumeError, match=r"DICOM SEG object.*Export it as a labelmap"):
        read_volume(tmp_path / "seg.dcm")


def test_header_without_pixels_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "one", [12.0])
    path = next((tmp_path / "one").iterdir())
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(VolumeError):
        read_volume(path)
