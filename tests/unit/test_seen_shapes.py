"""Whole structures in submitted labels: what is learnt, replaced, left out and forgotten; each label is read once."""

from types import SimpleNamespace

import numpy as np
import pytest

from slmsam2.errors import CheckpointError, VolumeError
from slmsam2.server.learning.at_once import learn_from
from slmsam2.server.learning.shapes import SeenShapes
from slmsam2.training.labelled import Submission
from slmsam2.volume import Volume, write_label

pytestmark = pytest.mark.unit

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
NAMES = {"liver": 1, "spleen": 2}
ALL = list(NAMES)


@pytest.fixture
def labels():
    """Image id -> label (12, 12, 20), to be put there."""
    return {}


@pytest.fixture
def names():
    """Structure -> value in each of them."""
    return dict(NAMES)


class Submitted:
    """Labels in the place of a datastore's."""

    def __init__(self, folder, labels, names):
        self.folder, self.labels, self.names = folder, labels, names
        self.were_read = []  # the images whose labels were, in that order

    def read(self, image_id, load, _most_voxels):
        self.were_read.append(image_id)
        label = self.labels[image_id]
        if label is None:
            raise VolumeError("It is damaged.")
        files = [self.folder / f"{image_id}_{kind}.nii.gz" for kind in ("image", "label")]
        for path in files:
            write_label(path, label, Volume(label, AFFINE))
        return load.read(Submission(image_id, *files, dict(self.names), mark=self.marks()[image_id]))

    def marks(self):
        return {
            image: repr((self.names, label is not None and label.tobytes()))
            for image, label in self.labels.items()
        }


@pytest.fixture
def submitted(tmp_path, labels, names):
    return Submitted(tmp_path, labels, names)


@pytest.fixture
def read(submitted):
    """The images whose labels were read, in that order."""
    return submitted.were_read


@pytest.fixture
def seen(tmp_path):
    return SeenShapes(tmp_path / "shapes")


@pytest.fixture
def submit(seen, submitted):
    return lambda *changed: learn_from(submitted, changed, [seen], 10**6)


def label(liver, spleen=0):
    """So many slices of each, from the fifth slice on, larger in the middle."""
    array = np.zeros((12, 12, 20), np.uint8)
    for value, (count, column) in enumerate([(liver, 1), (spleen, 7)], start=1):
        array[2:5, column : column + 3, 4 : 4 + count] = value
        array[2:8, column : column + 3, 5 : 3 + count] = value
    return array


def lengths(exemplars):
    return [one.along(2).length for one in exemplars]


def test_each_volume_counts(seen, submit, labels):
    assert seen.known(ALL, None) == {"liver": (), "spleen": ()}
    labels["a"] = label(liver=5, spleen=4)
    submit("a")
    labels["b"] = label(liver=7)
    submit("b")
    assert seen.volumes() == {"liver": 2, "spleen": 1}
    first, second = seen.known(["liver"], None)["liver"]
    assert lengths([first, second]) == [10.0, 14.0]
    assert first.along(2).areas.tolist() == [9, 18, 18, 18, 9]
    assert first.cells.shape == (6, 3, 5)
    assert seen.known(["liver"], None)["liver"][0] is first  # one for all who ask


def test_a_label_that_changes_or_goes_is_not_counted_any_more(seen, submit, labels):
    labels |= {"a": label(5), "b": label(6)}
    submit("a", "b")
    assert lengths(seen.known(ALL, None)["liver"]) == [10.0, 12.0]
    labels["a"] = label(8)
    del labels["b"]
    submit("a")
    assert lengths(seen.known(ALL, None)["liver"]) == [16.0]


def test_labels_from_before_are_caught_up_with(seen, submit, labels):
    labels |= {"a": label(5), "b": label(6), "c": label(7)}
    submit("c")
    assert seen.volumes() == {"liver": 3}


def test_what_changed_while_nobody_learnt_is_caught_up_with(
    seen, submit, labels, names, read, tmp_path, submitted
):
    """Submitted and the server killed, edited on disk, renamed; by one of the servers, which then has no more to do."""
    labels |= {"a": label(5), "b": label(6, spleen=4)}
    submit("a", "b")
    labels["a"] = label(8)
    submit()
    assert lengths(seen.known(ALL, None)["liver"]) == [12.0, 16.0]
    names["kidney"] = names.pop("spleen")
    submit()
    assert seen.volumes() == {"liver": 2, "kidney": 1}
    read.clear()
    submit()
    learn_from(submitted, (), [SeenShapes(tmp_path / "shapes")], 10**6)
    assert read == []


def test_structures_whose_names_say_nothing_are_not_learnt(seen, submit, labels, names):
    names.clear()
    names |= {"Structure 1": 1, "Segment_2": 2}
    labels["a"] = label(5, spleen=4)
    submit("a")
    assert seen.volumes() == {}
    assert seen.known(["Structure 1", "Segment_2", "segment 1"], None) == dict.fromkeys(
        ["Structure 1", "Segment_2", "segment 1"], ()
    )


def test_weights_that_cannot_be_loaded_are_said_and_no_more(labels, read, caplog, submitted):
    def to_learn(labelled, changed):
        raise CheckpointError("There is no weights file.")

    labels["a"] = label(5)
    learn_from(submitted, ("a",), [SimpleNamespace(to_learn=to_learn)], 10**6)
    assert read == []
    assert "Nothing is learnt of submitted labels: There is no weights file." in caplog.text


def test_the_label_of_the_image_itself_does_not_count(seen, submit, labels):
    labels |= {"a": label(5), "b": label(6)}
    submit("a", "b")
    assert lengths(seen.known(ALL, "a")["liver"]) == [12.0]
    assert lengths(seen.known(ALL, "never submitted")["liver"]) == [10.0, 12.0]


def test_a_volume_without_it_tells_what_its_kin_is_like(seen, submit, labels, names):
    names.clear()
    names |= {"Kidney left": 1, "kidney_right": 2}
    labels |= {"a": label(5, spleen=4), "b": label(0, spleen=6), "c": label(7)}
    submit("a", "b", "c")
    known = seen.known(["Kidney left", "left kidney", "kidney_right", "kidney"], None)
    assert lengths(known["Kidney left"]) == lengths(known["left kidney"]) == [10.0, 12.0, 14.0]
    assert lengths(known["kidney_right"]) == [8.0, 12.0, 14.0]
    assert known["kidney"] == ()
    own, mirrored = known["kidney_right"][1], known["Kidney left"][1]
    assert np.array_equal(mirrored.cells, own.cells[::-1])
    assert not any(one.kin for ones in known.values() for one in ones)


def test_what_is_cut_off_by_the_image_says_nothing(seen, submit, labels):
    labels["a"] = label(liver=16, spleen=4)
    submit("a")
    assert seen.volumes() == {"spleen": 1}


def test_a_damaged_label_or_file_is_left_out(seen, submit, labels, tmp_path, caplog):
    labels |= {"a": label(5), "b": None, "c": label(6)}
    submit("a", "b", "c")
    assert seen.volumes() == {"liver": 2}
    files = sorted((tmp_path / "shapes").glob("*.npz"))
    files[0].write_bytes(b"PK nothing of the kind")
    assert seen.volumes() == {"liver": 1}
    assert "left out" in caplog.text
    size = np.array([1.0, 1.0, 0.0])
    with files[1].open("wb") as stream:
        np.savez(stream, names=np.array(["liver"]), cells0=np.ones((2, 2, 2), np.uint8), size0=size)
    assert seen.known(["liver"], None) == {"liver": ()}


def test_all_that_is_learnt_of_a_label_is_learnt_while_it_is_read(seen, labels, read, tmp_path, submitted):
    other = SeenShapes(tmp_path / "other")
    labels |= {"a": label(5), "b": label(6)}
    learn_from(submitted, {"a"}, [seen, other], 10**6)
    assert read == ["a", "b"]
    labels["c"] = label(7)
    learn_from(submitted, {"c"}, [seen], 10**6)
    assert read == ["a", "b", "c"]
    learn_from(submitted, {"a"}, [seen, other], 10**6)
    assert read == ["a", "b", "c", "a", "c"]
    assert seen.volumes() == other.volumes() == {"liver": 3}
