"""Files: the same voxels and geometry from every kind, and a clear refusal of everything else."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slmsam2.errors import GridError, StorageError, VolumeError
from slmsam2.volume import Volume, read_grid, read_label, read_label_of, read_volume, write_label

pytestmark = pytest.mark.unit

WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_every_format_gives_the_same_volume(tmp_path: Path, numbered_volume: Volume, suffix: str) -> None:
    source = nifti(tmp_path / "source.nii", numbered_volume.array, numbered_volume.affine)
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, numbered_volume.array)
    np.testing.assert_allclose(volume.affine, numbered_volume.affine, atol=1e-5)
    assert volume.array.dtype == np.int16
    assert volume.spacing == pytest.approx((1, 2, 3), abs=1e-5)
    assert (volume.shape, volume.modality, volume.path) == ((6, 5, 4), None, path)


@pytest.mark.parametrize("unit", ["meter", "mm", "micron", "unknown"])
def test_nifti_lies_where_its_unit_says_as_in_itk(tmp_path: Path, unit: str) -> None:
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine)
    image.header.set_xyzt_units(unit)
    image.to_filename(tmp_path / "image.nii")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "image.nii")), str(tmp_path / "image.nrrd"))
    volume = read_volume(tmp_path / "image.nii")
    np.testing.assert_allclose(volume.affine, read_volume(tmp_path / "image.nrrd").affine, rtol=1e-5)
    np.testing.assert_array_equal(read_grid(tmp_path / "image.nii").affine, volume.affine)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_written_labels_come_back_also_in_itk(tmp_path: Path, numbered_volume: Volume, suffix: str) -> None:
    label = (numbered_volume.array % 7).astype(np.int32)
    path = tmp_path / f"label{suffix}"
    write_label(path, label, numbered_volume)
    back = read_label(path)
    assert back.array.dtype == np.uint8
    np.testing.assert_array_equal(back.array, label)
    np.testing.assert_allclose(back.affine, numbered_volume.affine, atol=1e-5)
    in_itk = sitk.ReadImage(str(path))
    assert in_itk.GetPixelID() == sitk.sitkUInt8
    corner = np.diag([-1, -1, 1]) @ (numbered_volume.affine @ [5, 4, 3, 1])[:3]
    assert in_itk.TransformIndexToPhysicalPoint((5, 4, 3)) == pytest.approx(corner, abs=1e-4)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    highest=st.sampled_from([1, 255, 256, 65535, 65536]),
    suffix=st.sampled_from(WRITTEN),
)
def test_label_round_trip(tmp_path: Path, shape: tuple[int, ...], highest: int, suffix: str) -> None:
    array = np.random.default_rng(highest).integers(0, highest, shape, endpoint=True)
    array.flat[0] = highest
    like = Volume(np.zeros(shape), np.diag([-0.5, 1, 2.5, 1]))
    write_label(tmp_path / f"label{suffix}", array, like)
    back = read_label(tmp_path / f"label{suffix}")
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.affine, like.affine, atol=1e-6)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (70000, "uint32")]
)
def test_labels_are_written_in_the_smallest_dtype(tmp_path: Path, highest: int, dtype: str) -> None:
    like = Volume(np.zeros((2, 2, 2)), np.eye(4))
    write_label(tmp_path / "label.nii.gz", np.full((2, 2, 2), highest), like)
    assert nib.load(tmp_path / "label.nii.gz").get_data_dtype() == dtype


def test_write_label_refuses_what_it_cannot_keep(tmp_path: Path, numbered_volume: Volume) -> None:
    array = np.zeros(numbered_volume.shape, int)
    for bad, path, message in [
        (array[:-1], "label.nii.gz", "6 x 5 x 4"),
        (array - 1, "label.nii.gz", "whole numbers"),
        (array + 0.5, "label.nii.gz", "whole numbers"),
        (array, "label.png", "use .nii"),
    ]:
        with pytest.raises(VolumeError, match=message):
            write_label(tmp_path / path, bad, numbered_volume)
    with pytest.raises(VolumeError, match="300 does not fit into uint8"):
        write_label(tmp_path / "label.nii.gz", array + 300, numbered_volume, dtype=np.dtype(np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/label.nrrd", "missing/label.nii"])
def test_a_label_that_cannot_be_written_is_a_matter_of_the_disk(tmp_path: Path, name: str) -> None:
    like = Volume(np.zeros((2, 2, 2)), np.eye(4))
    with pytest.raises(StorageError, match="cannot be written"):
        write_label(tmp_path / name, np.ones((2, 2, 2), int), like)


def test_nifti_values_are_scaled_only_when_the_header_says_so(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(2.0, -1024.0)
    raw = tmp_path / "scaled.nii"
    image.to_filename(raw)  # nibabel scales back when it writes, so the header is patched afterwards
    content = bytearray(raw.read_bytes())
    content[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()
    content[352:400] = np.arange(24, dtype="<i2").tobytes()
    raw.write_bytes(content)
    scaled = read_volume(raw).array
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled.ravel(order="F"), np.arange(24) * 2.0 - 1024)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.Nifti1Image(np.full((2, 2, 2), 258, ">i2"), np.eye(4), header).to_filename(tmp_path / "big.nii")
    array = read_volume(tmp_path / "big.nii").array
    assert array.dtype == np.dtype(np.int16)
    assert (array == 258).all()


def test_nifti_of_other_dimensions(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16)
    assert read_volume(nifti(tmp_path / "2d.nii", array.reshape(2, 3))).shape == (2, 3, 1)
    assert read_volume(nifti(tmp_path / "4d.nii", array.reshape(1, 2, 3, 1))).shape == (1, 2, 3)
    for shape in [(1, 1, 3, 2), (1, 2, 1, 1, 3)]:
        with pytest.raises(VolumeError, match=r"one 3D volume is needed. Export a single time point"):
            read_volume(nifti(tmp_path / "time.nii", array.reshape(shape)))


def test_colour_nifti_becomes_luminance(tmp_path: Path) -> None:
    colours = np.zeros((2, 1, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours[0], colours[1] = (255, 255, 255), (200, 0, 0)
    assert read_volume(nifti(tmp_path / "rgb.nii", colours)).array.ravel().tolist() == [255, 60]


def test_itk_files_of_other_dimensions(tmp_path: Path) -> None:
    flat = sitk.GetImageFromArray(np.arange(6, dtype=np.int16).reshape(3, 2))
    flat.SetSpacing((0.5, 0.25))
    flat.SetOrigin((10, 20))
    sitk.WriteImage(flat, str(tmp_path / "flat.mha"))
    volume = read_volume(tmp_path / "flat.mha")
    assert volume.array[:, :, 0].tolist() == [[0, 2, 4], [1, 3, 5]]
    np.testing.assert_array_equal(
        volume.affine, [[-0.5, 0, 0, -10], [0, -0.25, 0, -20], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    layers = sitk.GetImageFromArray(np.zeros((4, 3, 2, 2), np.uint8), isVector=True)
    sitk.WriteImage(layers, str(tmp_path / "layers.seg.nrrd"))
    with pytest.raises(VolumeError, match=r"in several layers.*Export it as one labelmap"):
        read_label(tmp_path / "layers.seg.nrrd")
    for times, message in [(2, "one 3D volume is needed"), (1, None)]:
        clip = sitk.GetImageFromArray(np.zeros((times, 4, 3, 2), np.uint8), isVector=False)
        sitk.WriteImage(clip, str(tmp_path / "clip.nrrd"))
        if message is None:
            assert read_volume(tmp_path / "clip.nrrd").shape == (2, 3, 4)
        else:
            with pytest.raises(VolumeError, match=message):
                read_volume(tmp_path / "clip.nrrd")


def test_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (10, 9, 1):
        Image.fromarray(np.full((3, 4), number, np.uint8)).save(folder / f"frame{number}.png")
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("not a picture")
    clip = read_volume(folder)
    assert clip.shape == (4, 3, 3)
    assert clip.array[0, 0].tolist() == [1, 9, 10]
    np.testing.assert_array_equal(clip.affine, np.diag([-1, -1, 1, 1]))
    deep = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "deep.png").array[:, :, 0], deep.T)
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "colours.png")
    assert read_volume(tmp_path / "colours.png").array.ravel().tolist() == [76, 150, 29]
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(folder / "wider.png")
    with pytest.raises(VolumeError, match=r"5 x 3 pixels.*4 x 3"):
        read_volume(folder)


def test_labels_that_are_no_numbers_any_more_are_refused(tmp_path: Path) -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 5:11] = 255
    Image.fromarray(mask).save(tmp_path / "mask.jpg")
    (tmp_path / "mask.jpg").rename(tmp_path / "mask.png")  # it is what is in it that counts
    with pytest.raises(VolumeError, match=r"'mask.png' is JPEG, which changes the numbers"):
        read_label(tmp_path / "mask.png")
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    for colour, values in (((255, 0, 0), None), ((7, 7, 7), [7])):
        voxels = np.array([colour], np.uint8).view(kind).reshape(1, 1, 1)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "rgb.nii.gz")
        assert read_volume(tmp_path / "rgb.nii.gz").array.ravel().tolist() == [76 if values is None else 7]
        if values is None:
            with pytest.raises(VolumeError, match=r"'rgb.nii.gz' is a label in colours"):
                read_label(tmp_path / "rgb.nii.gz")
        else:
            assert read_label(tmp_path / "rgb.nii.gz").array.ravel().tolist() == values


def test_picture_labels_belong_to_the_pictures_of_their_names(tmp_path: Path) -> None:
    for folder in ("image", "masks", "others"):
        (tmp_path / folder).mkdir()
    for number in range(1, 13):
        Image.fromarray(np.full((3, 4), number, np.uint8)).save(tmp_path / "image" / f"img_{number}.png")
    mask = Image.fromarray(np.eye(3, 4, dtype=np.uint8))
    mask.save(tmp_path / "masks" / "img_11.png")
    mask.save(tmp_path / "others" / "mask.png")
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "img_2.png")
    image = read_volume(tmp_path / "image")
    for label in (tmp_path / "masks", tmp_path / "masks" / "img_11.png"):
        found = read_label_of(label, image)
        assert np.flatnonzero(found.any(axis=(0, 1))).tolist() == [10]
        np.testing.assert_array_equal(found[..., 10], np.asarray(mask).T)
    with pytest.raises(VolumeError, match="12 images and 1 masks of other names"):
        read_label_of(tmp_path / "others", image)
    with pytest.raises(GridError, match="4 x 4 pixels, those of the image 4 x 3"):
        read_label_of(tmp_path / "img_2.png", image)
    stored = read_volume(nifti(tmp_path / "image.nii.gz", image.array))
    with pytest.raises(GridError, match="nothing tells where they belong"):
        read_label_of(tmp_path / "masks", stored)


def test_picture_labels_keep_their_numbers(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="L").convert("P")
    palette.putdata([0, 1, 2, 1])
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(tmp_path / "palette.png")
    assert read_label(tmp_path / "palette.png").array[:, :, 0].tolist() == [[0, 2], [1, 1]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "binary.png")
    assert read_label(tmp_path / "binary.png").array.ravel().tolist() == [1, 0]
    Image.fromarray(np.full((1, 2, 3), 3, np.uint8)).save(tmp_path / "grey.png")
    assert read_label(tmp_path / "grey.png").array.ravel().tolist() == [3, 3]
    Image.fromarray(np.array([[[128, 0, 0]]], np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(VolumeError, match="label in colours"):
        read_label(tmp_path / "colour.png")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1.5], "fractional"),
        ([0, np.nan], "not finite"),
        ([0, np.inf], "not finite"),
        ([0, -1], "from -1 to 0"),
        ([0, 2.0**40], "from 0 to"),
    ],
)
def test_label_values_must_be_whole_and_not_negative(
    tmp_path: Path, values: list[float], message: str
) -> None:
    path = nifti(tmp_path / "label.nii.gz", np.array(values, np.float64).reshape(2, 1, 1))
    with pytest.raises(VolumeError, match=message):
        read_label(path)
    assert read_volume(path).shape == (2, 1, 1)


def test_whole_floating_point_labels_are_fine(tmp_path: Path) -> None:
    label = read_label(nifti(tmp_path / "label.nii.gz", np.array([0, 1.0, 7.0], np.float32).reshape(3, 1, 1)))
    assert label.array.dtype == np.uint8
    assert label.array.ravel().tolist() == [0, 1, 7]


def damaged(path: Path, keep: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


@pytest.mark.parametrize("keep", [0, 0.02, 0.5, 0.97])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".png", ".jpg"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (30, 30, 30)).astype(np.uint8)
    path = tmp_path / f"image{suffix}"
    if suffix in (".png", ".jpg"):
        Image.fromarray(noise[0]).save(path)
    else:
        write_label(path, noise, Volume(noise, np.eye(4)))
    assert read_volume(path).array.size >= 900
    with pytest.raises(VolumeError, match=f"image{suffix}"):
        read_volume(damaged(path, keep))


@pytest.mark.parametrize(
    "name",
    ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.png", "a.jpg", "a.dcm", "a.txt", "a"],
)
def test_files_that_are_not_images_are_refused(tmp_path: Path, name: str) -> None:
    for content in (b"<html>404 not found</html>" * 40, gzip.compress(b"hello" * 200), b""):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VolumeError, match="'a"):
            read_volume(tmp_path / name)


def test_missing_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="does not exist"):
        read_volume(tmp_path / "missing.nii.gz")
    with pytest.raises(VolumeError, match="no DICOM series and no pictures"):
        read_volume(tmp_path)


@pytest.mark.parametrize("broken", [np.diag([1.0, 0, 1, 1]), np.diag([1.0, np.nan, 1, 1])])
def test_broken_geometry_is_refused(tmp_path: Path, broken: np.ndarray) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    image.header["sform_code"] = 1
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[name] = broken[row]
    path = tmp_path / "image.nii"
    path.write_bytes(image.header.binaryblock + bytes(4) + bytes(8))
    with pytest.raises(VolumeError, match=r"image.nii.*geometry is broken"):
        read_volume(path)


def test_volume_refuses_what_is_not_a_volume() -> None:
    for array in (np.zeros((2, 2)), np.zeros((2, 0, 2)), np.zeros((2, 2, 2), complex)):
        with pytest.raises(VolumeError):
            Volume(array, np.eye(4))
