"""Clips cut from label maps: seeded, around a structure, in labels that the renderer takes."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.normalisation import IMAGENET_MEAN, IMAGENET_STD
from slmsam2.synthesis import AnatomySettings, LabelMaps, mapped_clips
from slmsam2.synthesis.label_maps import number_of_labels
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "label_maps.py"
CPU = torch.device("cpu")
SETTINGS = AnatomySettings(slice_step=(0.02, 0.05))


def prepare(labels, output, *more, spacing=(1.0, 1.5, 2.0)):
    path = save(output.parent / "map.nii.gz", labels, spacing)
    command = [sys.executable, SCRIPT, path, "--output", output, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def save(path, array, spacing=(1.0, 1.5, 2.0)):
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ball with a core, a rod through everything, and a speck that is too small to follow."""
    i, j, k = np.mgrid[:60, :50, :40]
    distance = np.sqrt((i - 30) ** 2 + (1.5 * (j - 25)) ** 2 + (2.0 * (k - 20)) ** 2)
    labels = np.where(distance < 25, 3, 0)
    labels[distance < 12] = 700
    labels[(i - 8) ** 2 + (j - 8) ** 2 < 20] = 9
    labels[50, 40, 35] = 5
    base = tmp_path_factory.mktemp("maps")
    done = prepare(labels.astype(np.int16), base / "made_up")
    assert done.returncode == 0, done.stderr
    return base


def test_what_the_script_keeps(folder):
    with np.load(folder / "made_up" / "map.npz") as kept:
        assert kept["structures"].tolist() == [3, 9, 700]
        np.testing.assert_allclose(kept["spacing"], [1, 1.5, 2])
        for value, box in zip(kept["structures"], kept["boxes"], strict=True):
            inside = tuple(slice(*edges) for edges in box)
            assert (kept["labels"] == value).sum() == (kept["labels"][inside] == value).sum() > 0


@pytest.mark.parametrize(("labels", "said"), [(np.zeros((9, 9, 9), np.uint8), "no structure")])
def test_a_map_of_nothing_is_refused(tmp_path, labels, said):
    done = prepare(labels, tmp_path / "nothing")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_folder_without_maps_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"scripts/label_maps\.py"):
        LabelMaps(tmp_path, CPU)


def draw(folder, seed, batch=4):
    maps = LabelMaps(folder, CPU)
    generator = torch.Generator().manual_seed(seed)
    return mapped_clips(batch, 6, 64, generator, maps, structures=2, settings=SETTINGS)


def test_same_seed_same_clips(folder):
    first, again, other = draw(folder, 1), draw(folder, 1), draw(folder, 2)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.frames, other.frames)


def test_structures_are_on_the_first_slice_and_change(folder):
    clip = draw(folder, 3, batch=12)
    assert clip.frames.shape == (12, 6, 3, 64, 64)
    assert clip.masks.shape == (12, 2, 6, 64, 64)
    area = clip.masks[:, 0].float().mean(dim=(2, 3))
    assert ((area[:, 0] > 0) & (area[:, 0] <= 0.45)).all()
    assert (area[:, 0] != area[:, -1]).float().mean() > 0.8
    assert torch.isfinite(clip.frames).all()


def test_labels_follow_the_map(folder):
    maps, generator = LabelMaps(folder, CPU), torch.Generator().manual_seed(5)
    for _ in range(10):
        drawn = maps.draw(4, 64, generator, SETTINGS)
        labels, value = drawn.labels, drawn.structure
        assert drawn.image is None
        assert labels.shape == (4, 64, 64)
        assert labels.dtype == torch.int64
        assert set(labels.unique().tolist()) <= set(range(number_of_labels(SETTINGS)))
        assert value > SETTINGS.tissues
        share = (labels[0] == value).float().mean()
        assert 0.002 <= share <= 0.45
        assert len(labels[labels > SETTINGS.tissues].unique()) <= 4  # what the map has


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A dark rod in bright surroundings that get brighter along it, and its image; a value that is left out."""
    i, j, k = np.mgrid[:40, :40, :40]
    rod = (i - 20) ** 2 + (j - 18) ** 2 < 60
    labels = np.where(rod, 4, 0).astype(np.int16)
    labels[:, 30:38] = 900
    image = np.where(rod, 100.0, 600.0 + 5 * k)
    base = tmp_path_factory.mktemp("pictured")
    shown = save(base / "image.nii.gz", image.astype(np.float32), (0.1, 0.15, 0.2))
    more = "--images", shown, "--highest", "800", "--magnify", "10"
    done = prepare(labels, base / "kind", *more, spacing=(0.1, 0.15, 0.2))
    assert done.returncode == 0, done.stderr
    return base


def test_what_the_script_keeps_of_an_image(pictured):
    with np.load(pictured / "kind" / "map.npz") as kept:
        assert kept["structures"].tolist() == [4]
        assert set(np.unique(kept["labels"])) == {0, 4}
        np.testing.assert_allclose(kept["spacing"], [1, 1.5, 2], rtol=1e-6)
        image, inside = kept["image"].astype(np.float32), kept["labels"] == 4
    assert image.shape == inside.shape == (40, 40, 40)
    assert image[inside].max() < 0.1
    assert image[~inside].min() > 0.5


def test_clips_show_the_image_where_there_is_one(pictured):
    maps, generator = LabelMaps(pictured, CPU), torch.Generator().manual_seed(5)
    drawn = [maps.draw(4, 192, generator, SETTINGS) for _ in range(24)]
    images = [one.image for one in drawn]
    assert 8 < sum(image is not None for image in images) < 24
    for one in drawn:
        if one.image is None:
            continue
        assert one.image.shape == one.labels.shape
        inside = one.labels == one.structure
        dark = one.image < 0.3  # outlines, too, lie where the image has them
        assert 2 * (dark & inside).sum() / (dark.sum() + inside.sum()) > 0.9
    clip = mapped_clips(6, 4, 64, generator, maps, settings=SETTINGS)
    assert torch.isfinite(clip.frames).all()
    shown = clip.frames[:, :, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
    assert shown.amin() > -1e-5
    assert shown.amax() < 1 + 1e-5


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("label_maps")


def kept_by(script, labels, image=None):
    """What the script keeps of arrays with voxels of 1 mm."""
    options = argparse.Namespace(magnify=1.0, least_spacing=0.5, highest=65535)
    shown = None if image is None else Volume(image, np.eye(4))
    return script.label_map(Volume(labels, np.eye(4)), options, shown)


@pytest.fixture
def cube():
    labels = np.zeros((20, 20, 20), np.uint16)
    labels[5:15, 5:15, 5:15] = 1
    return labels


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_voxels_without_a_value_are_dark_and_change_no_others(script, cube, broken):
    image = np.random.default_rng(0).normal(100, 10, cube.shape).astype(np.float32)
    whole = kept_by(script, cube, image)["image"].astype(np.float32)
    image[0, 0, 0] = broken
    stored = kept_by(script, cube, image)["image"].astype(np.float32)
    assert stored[0, 0, 0] == 0
    np.testing.assert_allclose(stored.ravel()[1:], whole.ravel()[1:], atol=0.01)


def test_an_image_without_any_value_is_refused(script, cube):
    with pytest.raises(VolumeError, match="no finite voxel"):
        kept_by(script, cube, np.full(cube.shape, np.nan, np.float32))


def test_structures_of_too_few_voxels_are_left_out(script, cube):
    coarse = np.zeros_like(cube)
    coarse[2:5, 2:4, 2:4] = 1  # 12 voxels, but 6 at most on a slice
    coarse[10:16, 3:5, 3] = 2  # 12 on a slice, and 6 long
    coarse[10:13, 10:14, 10:13] = 3
    options = argparse.Namespace(magnify=4.0, least_spacing=0.5, highest=65535)
    kept = script.label_map(Volume(coarse, np.eye(4)), options)
    assert kept["structures"].tolist() == [2, 3]
    coarse[coarse > 1] = 0
    with pytest.raises(VolumeError, match="12 voxels"):
        script.label_map(Volume(coarse, np.eye(4)), options)


@pytest.mark.timeout(60)
def test_maps_of_which_nothing_can_be_shown_are_refused(tmp_path):
    (tmp_path / "kind").mkdir()
    labels = np.zeros((20, 20, 20), np.uint16)
    labels[8:11, 8:10, 8:10] = 1
    facts = {"structures": np.array([1]), "boxes": np.array([[[8, 11], [8, 10], [8, 10]]])}
    np.savez(tmp_path / "kind" / "one.npz", labels=labels, spacing=np.ones(3), **facts)
    with pytest.raises(ConfigurationError, match=r"scripts/label_maps\.py"):
        LabelMaps(tmp_path, CPU).draw(4, 64, torch.Generator().manual_seed(0), SETTINGS)


def test_as_many_images_as_label_maps(pictured):
    done = prepare(np.ones((9, 9, 9), np.uint8), pictured / "two", "--images", "a.nii", "b.nii")
    assert done.returncode == 2
    assert "1 label volumes, but 2 images" in done.stderr


def test_what_the_script_cannot_do_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    cube = np.zeros((24, 24, 24), np.uint8)
    cube[4:20, 4:20, 4:20] = 1
    told = prepare(cube, tmp_path / "file")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith("label_maps: ")
    assert "--magnify must be above 0" in prepare(cube, tmp_path / "maps", "--magnify", "0").stderr


def test_an_interrupted_map_is_not_left_half_written(script, cube, tmp_path, monkeypatch):
    def fail(stream, **_facts):
        stream.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    save(tmp_path / "cube.nii.gz", cube)
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "cube.nii.gz"), "--output", str(tmp_path / "maps")])
    assert script.main() == 2
    assert not list((tmp_path / "maps").iterdir())
