"""scripts/learning_curve.py: what it lets the model learn from a real volume."""

import importlib
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from slmsam2.training.labelled import read_cases

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "learning_curve.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("learning_curve")


@pytest.fixture
def folder(tmp_path):
    """A volume with three structures."""
    label = np.zeros((12, 12, 8), np.uint8)
    for value in (1, 2, 3):
        label[3 * value : 3 * value + 2, 4:8, 2:7] = value
    path = tmp_path / "volume"
    path.mkdir()
    affine = np.diag([-1.0, 1.0, 2.0, 1.0])
    nib.save(nib.Nifti1Image(label.astype(np.float32), affine), path / "image.nii.gz")
    nib.save(nib.Nifti1Image(label, affine), path / "label.nii.gz")
    (path / "labels.json").write_text(json.dumps({"liver": 1, "spleen": 2, "colon": 3}))
    return path


def test_only_the_named_structures_are_learnt(script, folder, tmp_path):
    (case,), unusable = read_cases([script.submission_of(folder, ["spleen"], tmp_path / "out")])
    assert case.structures.keys() == {"spleen"}
    assert unusable == {}


def test_structures_that_no_volume_has_are_refused(script, folder, tmp_path, monkeypatch, capsys):
    given = [
        "--learn-from",
        folder,
        "--structures",
        "liver",
        "--test-on",
        folder,
        "--test-structures",
        "heart",
    ]
    command = [*map(str, given), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["learning_curve", *command])
    assert script.main() == 2
    assert "No volume to measure on has heart." in capsys.readouterr().err


def test_a_mirror_image_has_its_sides_exchanged(script, folder, tmp_path):
    (folder / "labels.json").write_text(json.dumps({"hip_left": 1, "L1": 2, "R-hip": 3}))
    mirror = script.mirrored(folder, tmp_path)
    assert json.loads((mirror / "labels.json").read_text()) == {"hip_right": 1, "L1": 2, "L-hip": 3}
    for name in ("image", "label"):
        one, other = (nib.load(path / f"{name}.nii.gz") for path in (folder, mirror))
        assert np.array_equal(np.asanyarray(other.dataobj), np.asanyarray(one.dataobj)[::-1])
        assert np.array_equal(other.affine, one.affine)


def test_the_synthetic_subjects_give_a_task_for_each_structure(script):
    tasks = script.subject_tasks(3)
    assert [task.structure for task in tasks] == list(script.STRUCTURES)
    for task in tasks:
        value = script.STRUCTURES[task.structure]
        sent = task.label(task.painted)
        assert set(np.unique(sent)) == {0, value}
        areas = np.count_nonzero(task.reference, axis=(0, 1))
        assert np.flatnonzero(sent.any(axis=(0, 1))).tolist() == [areas.argmax()]
