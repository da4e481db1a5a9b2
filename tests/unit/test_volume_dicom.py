"""DICOM folders and files, written here with pydicom."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_files import AXIAL, real_dicom, write_dicom, write_frames, write_series
from slmsam2.errors import VolumeError
from slmsam2.volume import SliceView, read_volume
from slmsam2.volume.dicom_header import read_header

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


OBLIQUE = (1, 0, 0, 0, 0.8, -0.6)


@pytest.mark.parametrize(
    ("step", "directions", "order"),
    [
        ([0, 0, 2.5], AXIAL, [0, 1, 2, 3]),
        ([0, 0, 2.5], AXIAL, [3, 2, 1, 0]),
        ([0, 0, 2.5], AXIAL, [2, 0, 3, 1]),
        ([0, 1.5, 2.0], OBLIQUE, [1, 0, 2, 3]),
        ([0, 0.7, 2.4], AXIAL, [0, 1, 2, 3]),  # a tilted gantry
    ],
)
def test_frames_lie_where_each_says(
    tmp_path: Path, step: list[float], directions: tuple[float, ...], order: list[int]
) -> None:
    """GDCM keeps the order of the file, and gives frames out of order a geometry that the file does not have."""
    positions = [(np.array([-10.0, 20.0, 30.0]) + index * np.array(step)).tolist() for index in order]
    pixels = write_frames(tmp_path / "frames.dcm", positions, directions)
    volume = read_volume(tmp_path / "frames.dcm")
    to_voxel = np.linalg.inv(volume.affine)
    for (frame, row, column), value in np.ndenumerate(pixels):
        place = (
            positions[frame] + 0.75 * column * np.array(directions[:3]) + 0.5 * row * np.array(directions[3:])
        )
        i, j, k = to_voxel[:3, :3] @ (place * [-1, -1, 1]) + to_voxel[:3, 3]
        assert np.abs(np.array([i, j, k]) - np.rint([i, j, k])).max() < 1e-5
        assert volume.array[round(i), round(j), round(k)] == value


def test_frames_with_gaps_keep_their_pixels_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_frames(tmp_path / "gap.dcm", [[0.0, 0.0, z] for z in (0.0, 2.0, 4.0, 9.0)])
    with caplog.at_level(logging.WARNING, logger="slmsam2.volume"):
        assert read_volume(tmp_path / "gap.dcm").spacing == pytest.approx((0.75, 0.5, 3.0))
    assert "missing, unevenly spaced or tilted" in caplog.text


@pytest.mark.parametrize("heights", [(0.0, 2.0, 0.0, 2.0), (3.0, 3.0, 3.0)])
def test_frames_at_one_position_are_refused(tmp_path: Path, heights: tuple[float, ...]) -> None:
    write_frames(tmp_path / "phases.dcm", [[0.0, 0.0, z] for z in heights])
    with pytest.raises(VolumeError, match=r"'phases\.dcm' holds several images at one position"):
        read_volume(tmp_path / "phases.dcm")


def test_slices_in_several_planes_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "scouts", [0.0, 2.0, 4.0])
    path = sorted((tmp_path / "scouts").iterdir())[1]
    data = pydicom.dcmread(path)
    data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    data.save_as(path)
    with pytest.raises(VolumeError, match="slices in several planes"):
        read_volume(tmp_path / "scouts")


def test_values_are_scaled_as_each_slice_says(tmp_path: Path) -> None:
    """The first one's values are whole numbers: the others are not cut down to such."""
    slopes = [1.0, 0.25, 2.5]
    slices = write_series(tmp_path / "series", [0.0, 2.0, 4.0]) + 1024
    for path in (tmp_path / "series").iterdir():
        data = pydicom.dcmread(path)
        data.RescaleSlope, data.RescaleIntercept = slopes[int(data.ImagePositionPatient[2] / 2)], 0
        data.save_as(path)
    expected = (slices * np.array(slopes)[:, None, None]).transpose(2, 1, 0)
    np.testing.assert_allclose(read_volume(tmp_path / "series").array, expected)
    pixels = write_frames(tmp_path / "frames.dcm", [[0.0, 0.0, z] for z in (0.0, 2.0, 4.0)], slopes=slopes)
    expected = (pixels * np.array(slopes)[:, None, None]).transpose(2, 1, 0)
    np.testing.assert_allclose(read_volume(tmp_path / "frames.dcm").array, expected)


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


@pytest.mark.parametrize(
    "name",
    [
        "MR_small",
        "MR_small_implicit",
        "MR_small_bigendian",
        "MR_small_padded",
        "MR_small_expb",
        "MR_small_RLE",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
    ],
)
def test_every_way_of_writing_a_slice(name: str) -> None:
    """Implicit and explicit, big endian, padded, compressed: it is one and the same MR slice."""
    expected = pydicom.dcmread(real_dicom("MR_small")).pixel_array
    np.testing.assert_array_equal(read_volume(real_dicom(name)).array[:, :, 0], expected.T)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rtdose", (10, 10, 15)),
        ("rtdose_rle", (10, 10, 15)),
        ("SC_rgb_rle_2frame", (100, 100, 2)),
        ("SC_rgb_jpeg", (256, 256, 1)),
        ("JPEG-lossy", (256, 1024, 1)),
        ("693_J2KI", (512, 512, 1)),
        ("ExplVR_BigEnd", (80, 60, 1)),
        ("SC_rgb_small_odd", (3, 3, 1)),
    ],
)
def test_real_files_of_many_kinds(name: str, shape: tuple[int, int, int]) -> None:
    """Frames, lossy compression, private elements, an element that leaves out its kind, an odd number of bytes."""
    volume = read_volume(real_dicom(name))
    assert volume.shape == shape
    assert volume.array.std() > 0


@pytest.mark.parametrize(
    "name", ["priv_SQ", "nested_priv_SQ", "UN_sequence", "test-SR", "reportsi", "rtplan"]
)
def test_sequences_of_every_kind_are_followed(name: str) -> None:
    assert read_header(real_dicom(name)).shape == ()


def sequences(depth: int, *, ended_by_marks: bool, tag: bytes) -> bytes:
    """Sequences of one item each, one in the other."""
    head, item = tag + b"SQ\0\0", b"\xfe\xff\x00\xe0"
    if ended_by_marks:
        endless, end_of_item, end = (
            b"\xff" * 4,
            b"\xfe\xff\x0d\xe0" + bytes(4),
            b"\xfe\xff\xdd\xe0" + bytes(4),
        )
        return (head + endless + item + endless) * depth + (end_of_item + end) * depth
    lengths = [20 * inner for inner in reversed(range(depth))]
    return b"".join(head + struct.pack("<I", n + 8) + item + struct.pack("<I", n) for n in lengths)


@pytest.mark.parametrize("after_the_pixels", [False, True])
@pytest.mark.parametrize("ended_by_marks", [False, True])
def test_sequences_nested_without_end_are_refused(
    tmp_path: Path, ended_by_marks: bool, after_the_pixels: bool
) -> None:
    """GDCM would follow them until its stack overflows, and the process with it."""
    write_series(tmp_path / "one", [12.0])
    path = next((tmp_path / "one").iterdir())
    content = path.read_bytes()
    tag = b"\xe1\x7f\x10\x00" if after_the_pixels else b"\x08\x00\x15\x11"
    at = len(content) if after_the_pixels else content.index(b"\x20\x00\x0d\x00UI")
    for depth in (10, 49, 50, 50_000):
        nested = sequences(depth, ended_by_marks=ended_by_marks, tag=tag)
        path.write_bytes(content[:at] + nested + content[at:])
        if depth < 50:
            assert read_header(path).shape == (6, 4, 1, 1)
            continue
        with pytest.raises(VolumeError, match="damaged"):
            read_header(path)


def test_lengths_beyond_the_file_are_refused(tmp_path: Path) -> None:
    """Pieces of compressed pixels and the pixels themselves; GDCM would ask for 4 GB."""
    path, huge = tmp_path / "x.dcm", struct.pack("<I", 0xEFFFFFF0)
    for name, mark in (("MR_small_RLE", b"\xfe\xff\x00\xe0"), ("MR_small", b"\xe0\x7f\x10\x00OW\0\0")):
        content = real_dicom(name).read_bytes()
        at = content.rindex(mark) + len(mark)
        path.write_bytes(content[:at] + huge + content[at + 4 :])
        with pytest.raises(VolumeError, match="damaged"):
            read_header(path)


def test_deflated_files_are_refused() -> None:
    """A file of 500 bytes could ask for 4 GB."""
    with pytest.raises(VolumeError, match=r"deflated DICOM file\. Export it with another transfer syntax\."):
        read_volume(real_dicom("image_dfl"))


def test_other_files_beside_a_series(tmp_path: Path) -> None:
    """They are not looked at; a damaged file of the series is said."""
    slices = write_series(tmp_path / "series", [0.0, 2.0, 4.0])
    (tmp_path / "series" / "notes.txt").write_bytes(b"\x00" * 200)
    np.testing.assert_array_equal(read_volume(tmp_path / "series").array, slices.transpose(2, 1, 0))
    victim = sorted((tmp_path / "series").glob("*.dcm"))[1]
    victim.write_bytes(victim.read_bytes()[:300])
    with pytest.raises(VolumeError, match=f"'{victim.name}' is damaged"):
        read_volume(tmp_path / "series")
