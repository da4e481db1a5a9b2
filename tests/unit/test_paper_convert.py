"""scripts/convert.py: volumes to pictures and back, bit for bit."""

import gzip
import importlib.util
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from dicom_files import write_dicom, write_series
from paper_data import make_volume, write_layout
from slmsam2.paper.convert import label_names_of
from slmsam2.volume import read_label, read_volume

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert.py"


@pytest.fixture(scope="module")
def convert():
    spec = importlib.util.spec_from_file_location("convert_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return lambda *args: script.main([str(arg) for arg in args])


@pytest.fixture
def pairs(tmp_path, numbered_volume):
    """Two images with labels: oblique int16 with negative values, and floating point along another axis."""
    rng = np.random.default_rng(1)
    turned = numbered_volume.affine[:, [2, 0, 1, 3]]
    volumes = {
        "whole": (numbered_volume.array - 60, numbered_volume.affine, np.int16),
        "broken": (rng.normal(0, 1, (4, 6, 5)).astype(np.float32), turned, np.float64),
    }
    for name, (image, affine, label_type) in volumes.items():
        label = (rng.integers(0, 4, image.shape) * 100).astype(label_type)
        for kind, array in (("images", image), ("labels", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, affine), tmp_path / kind / f"{name}.nii.gz")
    return tmp_path


def same_file(one, other):
    a, b = nib.load(one), nib.load(other)
    values = np.asarray(a.dataobj), np.asarray(b.dataobj)
    return (
        values[0].dtype == values[1].dtype and np.array_equal(*values) and np.array_equal(a.affine, b.affine)
    )


def test_nifti_there_and_back(convert, pairs, capsys):
    data = pairs / "data"
    command = ["layout", "--images", pairs / "images", "--labels", pairs / "labels", "--output", data]
    assert convert(*command, "--lossless", "--list", "train.txt") == 0
    assert (data / "train.txt").read_text() == "broken\nwhole\n"
    assert sorted(p.name for p in (data / "images" / "whole").iterdir()) == [f"0000{s}.jpg" for s in range(4)]
    mask = np.asarray(Image.open(data / "masks" / "whole" / "00001.png"))
    label = np.asarray(nib.load(pairs / "labels" / "whole.nii.gz").dataobj)
    np.testing.assert_array_equal(np.sort(mask, axis=None), np.sort(label[..., 1], axis=None))
    assert convert("nifti", "--data", data, "--output", pairs / "back") == 0
    assert "whole: 4 slices, image exact, 3 objects, masks exact" in capsys.readouterr().out
    for name in ("whole", "broken"):
        assert same_file(pairs / "labels" / f"{name}.nii.gz", pairs / "back" / "labels" / f"{name}.nii.gz")
    assert same_file(pairs / "images" / "whole.nii.gz", pairs / "back" / "images" / "whole.nii.gz")
    broken = [read_volume(pairs / folder / "broken.nii.gz") for folder in ("images", "back/images")]
    np.testing.assert_allclose(broken[1].array, broken[0].array, atol=1e-4)  # 65536 levels
    np.testing.assert_array_equal(broken[1].affine, broken[0].affine)


def test_jpeg_alone_keeps_the_masks_and_the_grid(convert, pairs):
    data = pairs / "data"
    command = ["layout", "--images", pairs / "images", "--labels", pairs / "labels", "--output", data]
    assert convert(*command, "--window", "0/120") == 0
    assert convert("nifti", "--data", data, "--output", pairs / "back") == 0
    assert same_file(pairs / "labels" / "whole.nii.gz", pairs / "back" / "labels" / "whole.nii.gz")
    image = read_volume(pairs / "back" / "images" / "whole.nii.gz")
    assert image.array.dtype == np.int16
    assert np.abs(image.array - read_volume(pairs / "images" / "whole.nii.gz").array).mean() < 5


def test_lossless_pictures_of_an_earlier_conversion_do_not_come_back(convert, pairs):
    data = pairs / "data"
    command = ["layout", "--images", pairs / "images", "--labels", pairs / "labels", "--output", data]
    assert convert(*command, "--lossless") == 0
    path = pairs / "images" / "whole.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1] + np.int16(7), image.affine), path)
    assert convert(*command) == 0
    assert convert("nifti", "--data", data, "--output", pairs / "back") == 0
    assert same_file(path, pairs / "back" / "images" / "whole.nii.gz")


def test_pictures_of_the_same_names_in_another_format_are_refused(convert, pairs, capsys):
    folder = pairs / "data" / "images" / "whole"
    folder.mkdir(parents=True)
    Image.new("L", (6, 5)).save(folder / "00000.png")
    assert convert("layout", "--images", pairs / "images", "--output", pairs / "data") == 2
    assert "'00000.png'" in capsys.readouterr().err


def test_64_bit_files_come_back(convert, tmp_path):
    array = np.arange(60).reshape(5, 4, 3)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(array, np.eye(4), dtype=np.int64), tmp_path / kind / "long.nii.gz")
    source = ["--images", tmp_path / "images", "--labels", tmp_path / "labels"]
    assert convert("layout", *source, "--output", tmp_path / "data", "--lossless") == 0
    assert convert("nifti", "--data", tmp_path / "data", "--output", tmp_path / "back") == 0
    for kind in ("images", "labels"):
        assert same_file(*(folder / kind / "long.nii.gz" for folder in (tmp_path, tmp_path / "back")))


def test_layout_there_and_back_bit_for_bit(convert, tmp_path):
    """Palette masks come back as the very same files; pictures as the same pixels in PNG."""
    data = write_layout(tmp_path / "data", ["a"])
    for path in (data / "masks" / "a").iterdir():
        picture = Image.open(path)
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        picture.save(path)
    assert convert("nifti", "--data", data, "--output", tmp_path / "nifti") == 0
    images, labels = tmp_path / "nifti" / "images", tmp_path / "nifti" / "labels"
    again = tmp_path / "again"
    assert convert("layout", "--images", images, "--labels", labels, "--output", again, "--lossless") == 0
    for path in sorted((data / "masks" / "a").iterdir()):
        one, other = Image.open(path), Image.open(again / "masks" / "a" / path.name)
        assert (one.mode, one.getpalette()) == (other.mode, other.getpalette())
        assert one.tobytes() == other.tobytes()
    for path in sorted((data / "images" / "a").iterdir()):
        lossless = Image.open(again / "images_png" / "a" / f"{path.stem}.png")
        np.testing.assert_array_equal(np.asarray(lossless), np.asarray(Image.open(path)))


def test_datastore_there_and_back(convert, tmp_path):
    data = write_layout(tmp_path / "data", ["a", "b"])
    studies = tmp_path / "studies"
    assert convert("datastore", "--data", data, "--output", studies) == 0
    np.testing.assert_array_equal(
        read_label(studies / "labels" / "final" / "b.nii.gz").array.transpose(2, 1, 0), make_volume(1)[1]
    )
    (studies / "unlabelled.nii.gz").write_bytes((studies / "a.nii.gz").read_bytes())
    assert (
        convert("layout", "--datastore", studies, "--output", tmp_path / "again", "--list", "train.txt") == 0
    )
    assert (tmp_path / "again" / "train.txt").read_text() == "a\nb\n"
    for name in "ab":
        for path in (data / "masks" / name).iterdir():
            assert (tmp_path / "again" / "masks" / name / path.name).read_bytes() == path.read_bytes()


def test_a_datastore_s_own_images_labels_and_records_stay(convert, pairs, capsys):
    """Its labels out as pictures, and back: JPEG must not replace the scans, nor names alone what the server noted."""
    studies = pairs / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    (studies / "labels" / "original").mkdir()
    for name in ("whole", "broken"):
        (pairs / "images" / f"{name}.nii.gz").rename(studies / f"{name}.nii.gz")
        (pairs / "labels" / f"{name}.nii.gz").rename(studies / "labels" / "final" / f"{name}.nii.gz")
    final = {
        "ext": ".nii.gz",
        "info": {"ts": 7, "client_id": "x", "label_info": [{"name": "liver", "idx": 100}]},
    }
    record = {
        "name": "ward",
        "description": "",
        "images_dir": ".",
        "objects": {
            "whole": {
                "image": {"ext": ".nii.gz", "info": {"ts": 5, "checksum": "SHA256:1"}},
                "labels": {"final": final, "original": {"ext": ".nii.gz", "info": {"ts": 6}}},
            }
        },
    }
    (studies / "datastore_v2.json").write_text(json.dumps(record))
    before = {path: path.read_bytes() for path in studies.rglob("*.nii.gz")}
    assert convert("layout", "--datastore", studies, "--output", pairs / "data") == 0
    command = ["datastore", "--data", pairs / "data", "--output", studies]
    assert convert(*command) == 0
    assert "image left as it is, 3 objects, label left as it is" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in studies.rglob("*.nii.gz")} == before
    kept = json.loads((studies / "datastore_v2.json").read_text())
    assert {**kept, "objects": {"whole": kept["objects"]["whole"]}} == record
    assert kept["objects"]["broken"]["image"] == {"ext": ".nii.gz", "info": {}}

    (studies / "labels" / "final" / "broken.nii.gz").unlink()  # this one is written anew
    mask = next((pairs / "data" / "masks" / "whole").iterdir())  # that one is another than what is there
    Image.fromarray(np.asarray(Image.open(mask)) // 2).save(mask)
    assert convert(*command) == 2
    told = capsys.readouterr()
    assert "broken: 4 slices, image left as it is, 3 objects, masks exact" in told.out
    assert "whole.nii.gz' is there already and differs from the masks: move it away" in told.err
    label = studies / "labels" / "final" / "broken.nii.gz"
    np.testing.assert_array_equal(
        read_label(label).array, nib.Nifti1Image.from_bytes(gzip.decompress(before[label])).get_fdata()
    )
    assert {path: path.read_bytes() for path in before if path != label} == {
        p: b for p, b in before.items() if p != label
    }
    assert (
        json.loads((studies / "datastore_v2.json").read_text())["objects"]["whole"]
        == kept["objects"]["whole"]
    )


def test_files_of_another_volume_stay(convert, pairs, capsys):
    data = write_layout(pairs / "data", ["whole"])  # another one of that name, without geometry
    there = (pairs / "images" / "whole.nii.gz").read_bytes()
    assert convert("nifti", "--data", data, "--output", pairs) == 2
    assert "on another grid than the pictures of 'whole'" in capsys.readouterr().err
    assert (pairs / "images" / "whole.nii.gz").read_bytes() == there
    assert convert("layout", "--images", data / "images", "--output", data) == 2
    assert "come from, and JPEG would lose" in capsys.readouterr().err
    (pairs / "studies").mkdir()
    (pairs / "studies" / "datastore_v2.json").write_text("{")
    assert convert("datastore", "--data", data, "--output", pairs / "studies") == 2
    assert "datastore_v2.json' is damaged" in capsys.readouterr().err
    assert [path.name for path in (pairs / "studies").iterdir()] == ["datastore_v2.json"]


def test_one_damaged_volume_does_not_stop_the_others(convert, pairs, capsys):
    (pairs / "images" / "bad.nii.gz").write_bytes(b"no image")
    (pairs / "images" / "whole.nii.gz").rename(pairs / "images" / "whole.NII.GZ")
    command = ["layout", "--images", pairs / "images", "--output", pairs / "data", "--list", "all.txt"]
    assert convert(*command, "--labels", pairs / "labels") == 2
    assert "no masks of bad" in capsys.readouterr().err
    assert convert(*command) == 2
    assert "not converted: bad: 'bad.nii.gz' is damaged" in capsys.readouterr().err
    assert (pairs / "data" / "all.txt").read_text() == "broken\nwhole\n"


def test_masks_that_were_resampled_are_not_called_exact(convert, pairs, capsys):
    path = pairs / "labels" / "whole.nii.gz"
    label = nib.load(path)
    coarse = label.affine @ np.diag([2, 1, 1, 1])
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj)[::2], coarse), path)
    command = [
        "layout",
        "--images",
        pairs / "images",
        "--labels",
        pairs / "labels",
        "--output",
        pairs / "data",
    ]
    assert convert(*command) == 0
    told = capsys.readouterr().out
    assert "whole: 4 slices, image not exact, 3 objects, masks resampled onto the grid of the image" in told
    assert "broken: 4 slices, image not exact, 3 objects, masks exact" in told


def test_masks_that_are_not_there_are_missed(convert, tmp_path, capsys):
    data = write_layout(tmp_path / "data", ["a"])
    command = ["nifti", "--data", data, "--output", tmp_path / "out", "--masks", tmp_path / "resutls"]
    assert convert(*command) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dicom_series_and_clips(convert, tmp_path):
    """A CT series, and a clip of many frames, whose time becomes slices."""
    (tmp_path / "images").mkdir()
    slices = write_series(tmp_path / "images" / "ct", [0.0, 2.0, 4.0])
    clip = np.random.default_rng(0).integers(0, 255, (5, 12, 14)).astype(np.uint8)
    write_dicom(tmp_path / "images" / "us.dcm", clip, Modality="US")
    assert (
        convert("layout", "--images", tmp_path / "images", "--output", tmp_path / "data", "--lossless") == 0
    )
    names = sorted((tmp_path / "data" / "images_png" / "us").iterdir())
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(p)) for p in names]), clip)
    assert convert("nifti", "--data", tmp_path / "data", "--output", tmp_path / "back") == 0
    image = read_volume(tmp_path / "back" / "images" / "ct.nii.gz")
    np.testing.assert_array_equal(image.array, slices.transpose(2, 1, 0))
    assert image.spacing == pytest.approx((0.75, 0.5, 2.0))


def test_dicom_seg_there_and_back(convert, tmp_path, capsys):
    """Masks to a SEG for their series, and from the SEG to the same masks."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    write_series(images / "ct", [0.0, 2.0, 4.0, 6.0])
    grid = read_volume(images / "ct")
    label = np.zeros(grid.shape, np.uint8)
    label[1:4, 1:3, 1:3], label[4, 2, 1:4] = 1, 2
    labels.mkdir()
    nib.save(nib.Nifti1Image(label, grid.affine), labels / "ct.nii.gz")
    assert convert("layout", "--images", images, "--labels", labels, "--output", tmp_path / "data") == 0
    segs = tmp_path / "segs"
    assert convert("seg", "--data", tmp_path / "data", "--series", images, "--output", segs) == 0
    assert [path.name for path in segs.iterdir()] == ["ct.dcm"]
    assert convert("layout", "--images", images, "--labels", segs, "--output", tmp_path / "again") == 0
    for path in (tmp_path / "data" / "masks" / "ct").iterdir():
        assert (tmp_path / "again" / "masks" / "ct" / path.name).read_bytes() == path.read_bytes()
    assert convert("seg", "--data", tmp_path / "data", "--series", labels, "--output", segs) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_what_cannot_be_converted_gets_a_sentence(convert, pairs, capsys):
    data = pairs / "data"
    command = ["layout", "--images", pairs / "images", "--labels", pairs / "labels", "--output", data]
    (pairs / "list.txt").write_text("whole\nlost\n")
    assert convert(*command, "--only", pairs / "list.txt") == 2
    assert "no images of lost in" in capsys.readouterr().err
    assert convert(*command, "--axis", 0) == 0
    assert convert(*command) == 2
    assert "other pictures" in capsys.readouterr().err  # slices of another axis lie there
    (data / "geometry" / "whole.json").write_text("{")
    assert convert("nifti", "--data", data, "--output", pairs / "back") == 2
    assert "is damaged" in capsys.readouterr().err
    assert convert("nifti", "--data", pairs / "nowhere", "--output", pairs / "back") == 2
    assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["id", "idx"])
def test_names_of_a_datastore_s_labels(tmp_path, key):
    saved = {"final": {"ext": ".nii.gz", "info": {"label_info": [{"name": "liver", key: 3}]}}}
    proposed = {"final": {"ext": ".nii.gz", "info": {"params": {"label_names": {"spleen": 2}}}}}
    objects = {
        name: {"image": {}, "labels": labels} for name, labels in (("a", saved), ("b", proposed), ("c", {}))
    }
    (tmp_path / "datastore_v2.json").write_text(json.dumps({"objects": objects}))
    assert label_names_of(tmp_path) == {"a": {"liver": 3}, "b": {"spleen": 2}, "c": {}}
