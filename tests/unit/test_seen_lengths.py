"""Lengths of structures in submitted labels: what is learnt, replaced, left out and forgotten."""

import json

import numpy as np
import pytest

from slmsam2.errors import VolumeError
from slmsam2.server import lengths as module
from slmsam2.server.lengths import SeenLengths
from slmsam2.training.labelled import Submission, read_case
from slmsam2.volume import Volume, write_label

pytestmark = pytest.mark.unit

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
NAMES = {"liver": 1, "spleen": 2}


@pytest.fixture
def labels(tmp_path):
    """Image id -> label (12, 12, 20), to be put there."""
    return {}


@pytest.fixture
def seen(tmp_path, labels, monkeypatch):
    def read(_datastore, image_id, _most_voxels):
        if labels[image_id] is None:
            raise VolumeError("It is damaged.")
        label, image = (tmp_path / f"{image_id}_{kind}.nii.gz" for kind in ("label", "image"))
        for path in (label, image):
            write_label(path, labels[image_id], Volume(labels[image_id], AFFINE))
        return read_case(Submission(image_id, image, label, NAMES))

    monkeypatch.setattr(module, "submitted_images", lambda _datastore: list(labels))
    monkeypatch.setattr(module, "read_submitted", read)
    return SeenLengths(tmp_path / "lengths", lambda: None)


def label(liver, spleen=0):
    """So many slices of each, from the fifth slice on, larger in the middle."""
    array = np.zeros((12, 12, 20), np.uint8)
    for value, (count, column) in enumerate([(liver, 1), (spleen, 7)], start=1):
        array[2:5, column : column + 3, 4 : 4 + count] = value
        array[2:8, column : column + 3, 5 : 3 + count] = value
    return array


def test_each_volume_counts(seen, labels):
    assert seen.known() == {}
    labels["a"] = label(liver=5, spleen=4)
    seen.learn(["a"])
    labels["b"] = label(liver=7)
    seen.learn(["b"])
    assert seen.volumes() == {"liver": 2, "spleen": 1}
    first, second = seen.known()["liver"]
    assert (first.length, second.length) == (8.0, 12.0)
    assert first.patient_axis == 2
    assert first.areas.tolist() == [9, 18, 18, 18, 9]


def test_a_label_that_changes_or_goes_is_not_counted_any_more(seen, labels):
    labels |= {"a": label(5), "b": label(6)}
    seen.learn(["a", "b"])
    labels["a"] = label(8)
    del labels["b"]
    seen.learn(["a"])
    assert [one.length for one in seen.known()["liver"]] == [14.0]


def test_labels_from_before_are_caught_up_with(seen, labels):
    labels |= {"a": label(5), "b": label(6), "c": label(7)}
    seen.learn(["c"])
    assert seen.volumes() == {"liver": 3}


def test_what_is_cut_off_by_the_image_says_nothing(seen, labels):
    labels["a"] = label(liver=16, spleen=4)
    seen.learn(["a"])
    assert seen.volumes() == {"spleen": 1}


def test_a_damaged_label_or_file_is_left_out(seen, labels, tmp_path, caplog):
    labels |= {"a": label(5), "b": None, "c": label(6)}
    seen.learn(["a", "b", "c"])
    assert seen.volumes() == {"liver": 2}
    damaged = min((tmp_path / "lengths").glob("*.json"))
    damaged.write_text(json.dumps({"liver": {"spacing": "wide"}}))
    assert seen.volumes() == {"liver": 1}
    assert "left out" in caplog.text
