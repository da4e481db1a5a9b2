"""Proposals beside submissions: by name, on whatever grid, once per change."""

import os

import nibabel as nib
import numpy as np
import pytest
from monailabel.datastore.local import LocalDatastore

from slmsam2.errors import StorageError
from slmsam2.prompts import label_names, named_values
from slmsam2.server.learning import scoring
from slmsam2.server.learning.scoring import DiceScoring, correction_summary, structure_dice
from slmsam2.server.memory.proposals import Proposals
from slmsam2.server.memory.steps import Key
from slmsam2.server.running import shortage

pytestmark = pytest.mark.unit

SHAPE = (8, 8, 6)
# as this app saves a proposal, and as 3D Slicer submits
PROPOSED = {"params": {"label_names": {"liver": 1, "spleen": 2}}}
SUBMITTED = {"label_info": [{"name": "spleen", "idx": 1}, {"name": "liver", "idx": 2}]}


def blocks(values):
    """Labels (8, 8, 6): per value, the rows it fills on half of the slices."""
    label = np.zeros(SHAPE, np.uint8)
    for value, rows in values.items():
        label[rows, :, :3] = value
    return label


PROPOSAL = blocks({1: slice(0, 2), 2: slice(4, 8)})  # liver, spleen
SUBMISSION = blocks({2: slice(0, 4), 1: slice(4, 8)})  # liver twice as large, spleen as proposed
SCORES = {"liver": pytest.approx(2 / 3, abs=1e-4), "spleen": 1.0}


def save(datastore, image, tag, label, info, affine=None):
    path = os.path.join(os.path.dirname(datastore.get_image_uri(image)), "upload.nii.gz")
    nib.save(nib.Nifti1Image(label, np.eye(4) if affine is None else affine), path)
    datastore.save_label(image, path, tag, dict(info))
    os.unlink(path)


@pytest.fixture
def datastore(tmp_path):
    for image in "abc":
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), tmp_path / f"{image}.nii.gz")
    return LocalDatastore(str(tmp_path), extensions=["*.nii.gz"])


@pytest.fixture
def pair(datastore):
    save(datastore, "a", "original", PROPOSAL, PROPOSED)
    save(datastore, "a", "final", SUBMISSION, SUBMITTED)
    return datastore


def test_structures_are_compared_by_name():
    assert structure_dice(PROPOSAL, SUBMISSION, PROPOSED, SUBMITTED) == SCORES


def test_a_structure_that_was_not_submitted_has_nothing_right():
    only_spleen = np.where(SUBMISSION == 1, 1, 0)
    assert structure_dice(PROPOSAL, only_spleen, PROPOSED, SUBMITTED) == {"liver": 0.0, "spleen": 1.0}


def test_what_was_not_proposed_does_not_count():
    only_spleen = np.where(PROPOSAL == 2, 2, 0)
    assert structure_dice(only_spleen, SUBMISSION, PROPOSED, SUBMITTED) == {"spleen": 1.0}


def test_submissions_without_names_are_compared_by_value():
    same = {**PROPOSED}
    assert structure_dice(PROPOSAL, PROPOSAL, same, {}) == {"liver": 1.0, "spleen": 1.0}


@pytest.mark.parametrize(
    ("info", "names"),
    [
        ([{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}], {"liver": 1, "spleen": 2}),
        # a segment in between was left out; the list may count from 0
        ([{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 3}], {"liver": 1, "spleen": 2}),
        ([{"name": "liver", "idx": 0}, {"name": "spleen", "idx": 1}], {"liver": 1, "spleen": 2}),
        ([{"name": "liver", "id": 2}], {"structure_1": 1, "liver": 2}),
        ([None, {"idx": 1}, "liver"], {"structure_1": 1, "structure_2": 2}),
        ("liver", {"structure_1": 1, "structure_2": 2}),
    ],
)
def test_names_of_a_saved_label(info, names):
    assert named_values(label_names({"label_info": info}), PROPOSAL) == names


def test_a_pair_is_scored_and_noted(pair):
    assert DiceScoring()({}, pair) == {"a": pytest.approx(5 / 6, abs=1e-4)}
    note = pair.get_image_info("a")["correction"]
    assert note["per_structure"] == SCORES
    assert note["ts"] == pair.get_label_info("a", "final")["ts"]
    assert "correction" not in pair.get_image_info("b")


def remembered(**masks):
    """Proposals for image a, by one annotator."""
    proposals = Proposals()
    for structure, mask in masks.items():
        proposals.keep(Key("a 17", "me", structure), mask, np.eye(4))
    return proposals


def test_a_proposal_that_was_not_saved_counts_for_what_was_submitted(datastore):
    proposals = remembered(liver=PROPOSAL == 1, spleen=PROPOSAL == 2, kidney=PROPOSAL == 2)
    save(datastore, "a", "final", SUBMISSION, SUBMITTED)
    save(datastore, "b", "final", SUBMISSION, SUBMITTED)
    assert DiceScoring(proposals)({}, datastore) == {"a": pytest.approx(5 / 6, abs=1e-4)}
    assert datastore.get_image_info("a")["correction"]["per_structure"] == SCORES
    # another server, or this one after a restart, keeps what was noted
    assert DiceScoring()({}, datastore) == {"a": pytest.approx(5 / 6, abs=1e-4)}
    assert correction_summary(datastore)["images"] == 1


def test_a_saved_proposal_is_preferred(pair):
    nothing = np.zeros(SHAPE, bool)
    assert DiceScoring(remembered(liver=nothing, spleen=nothing))({}, pair)["a"] == pytest.approx(
        5 / 6, abs=1e-4
    )


def test_the_first_proposal_is_kept_until_the_structure_is_started_anew():
    liver = Key("a 17", "me", "liver")
    first, second = PROPOSAL == 1, SUBMISSION == 2
    proposals = remembered(liver=first)
    proposals.keep(liver, second, np.eye(4))
    assert (proposals.of("a")["liver"].unpack().array == first).all()
    assert proposals.of("b") == {}
    proposals.forget(liver)
    proposals.keep(liver, second, np.eye(4))
    assert (proposals.of("a")["liver"].unpack().array == second).all()


def test_proposals_are_kept_within_a_bound():
    noise = np.random.default_rng(0).random((8, 64, 64)) > 0.5
    proposals = Proposals(most_bytes=3 * noise.size // 8)
    for number in range(5):
        proposals.keep(Key("a 17", "me", str(number)), noise, np.eye(4))
    assert list(proposals.of("a")) == ["3", "4"]
    proposals.keep(Key("a 17", "me", "large"), np.random.default_rng(1).random((32, 64, 64)) > 0.5, np.eye(4))
    assert list(proposals.of("a")) == ["3", "4"]


def test_only_what_changed_is_read_again(pair, monkeypatch):
    save(pair, "b", "original", PROPOSAL, PROPOSED)
    save(pair, "b", "final", PROPOSAL, PROPOSED)
    read = []
    monkeypatch.setattr(
        scoring, "read_label", lambda path, real=scoring.read_label: read.append(path) or real(path)
    )
    score = DiceScoring()
    first = score({}, pair)
    assert len(read) == 4
    assert score({}, pair) == first
    assert len(read) == 4
    save(pair, "a", "final", PROPOSAL, PROPOSED)
    assert score({}, pair) == {"a": 1.0, "b": 1.0}
    assert sorted(path.name for path in read[4:]) == ["a.nii.gz", "a.nii.gz"]


def test_a_submission_on_a_cropped_grid(datastore):
    """As a label read back from a PACS: only the slices with something on them."""
    save(datastore, "a", "original", PROPOSAL, PROPOSED)
    affine = np.eye(4)
    affine[2, 3] = 1
    save(datastore, "a", "final", PROPOSAL[:, :, 1:3], PROPOSED, affine)
    assert DiceScoring()({}, datastore) == {"a": pytest.approx(2 * 2 / (3 + 2), abs=1e-4)}


def test_a_pair_that_cannot_be_compared_is_noted_once(pair, caplog):
    save(pair, "a", "final", SUBMISSION.astype(np.float32) / 3, SUBMITTED)
    score = DiceScoring()
    assert score({}, pair) == score({}, pair) == {}
    assert "fractional" in pair.get_image_info("a")["correction"]["problem"]
    assert caplog.text.count("cannot be compared") == 1
    assert correction_summary(pair)["images"] == 0


def test_labels_that_do_not_fit_into_the_memory_are_not_read(pair, monkeypatch, caplog):
    monkeypatch.setattr(shortage, "available", lambda: 8 * 2 * PROPOSAL.size - 1)
    assert DiceScoring()({}, pair) == {}
    assert "of memory" in caplog.text


def test_a_label_saved_by_the_server_meanwhile_is_not_lost(pair):
    """Scoring in a process of its own has an older list of labels in memory."""
    job = LocalDatastore(pair._datastore_path, extensions=["*.nii.gz"])
    save(pair, "b", "final", SUBMISSION, SUBMITTED)
    assert DiceScoring()({}, job)["a"] == pytest.approx(5 / 6, abs=1e-4)
    again = LocalDatastore(pair._datastore_path, extensions=["*.nii.gz"])
    assert again.get_label_info("b", "final")["label_info"] == SUBMITTED["label_info"]
    assert again.get_image_info("a")["correction"]["per_structure"] == SCORES


def test_what_is_deleted_while_it_is_scored_is_no_reason_to_score_nothing_else(pair, monkeypatch, tmp_path):
    save(pair, "b", "original", PROPOSAL, PROPOSED)
    save(pair, "b", "final", SUBMISSION, SUBMITTED)
    files, gone = scoring._files, tmp_path / "gone.nii.gz"
    monkeypatch.setattr(
        scoring, "_files", lambda data, image: [gone, gone] if image == "a" else files(data, image)
    )
    assert DiceScoring()({}, pair).keys() == {"b"}


def note(datastore, image, ts, dice, per_structure):
    """A score of what was submitted then."""
    save(datastore, image, "final", SUBMISSION, SUBMITTED)
    datastore.update_label_info(image, "final", {"ts": ts})
    score = {"dice": dice, "per_structure": per_structure, "ts": ts}
    datastore.update_image_info(image, {"correction": score})


def test_summary(datastore):
    nothing = correction_summary(datastore)
    assert nothing["images"] == 0
    assert nothing["dice"] is None
    assert nothing["newest"] == {"images": 0, "dice": None, "per_structure": {}, "ts": None}
    note(datastore, "a", 7, 0.5, {"liver": 0.5})
    note(datastore, "b", 9, 0.8, {"liver": 0.7, "spleen": 0.9})
    for others in ({"dice": 1}, {"dice": 1, "ts": 10, "per_structure": {"liver": "good"}}):  # not ours
        datastore.update_image_info("c", {"correction": others})
        summary = correction_summary(datastore)
        assert summary["images"] == 2
        assert summary["dice"] == 0.65
        assert summary["per_structure"] == {"liver": 0.6, "spleen": 0.9}
        assert summary["newest"]["ts"] == 9


def test_the_newest_submissions_are_shown_by_themselves(tmp_path):
    for n in range(12):
        (tmp_path / f"{n}.nii.gz").write_bytes(b"")
    datastore = LocalDatastore(str(tmp_path), extensions=["*.nii.gz"])
    for n in range(12):
        dice = 0.1 if n < 2 else 0.9
        note(datastore, str(n), 100 + n, dice, {"x": dice})
    summary = correction_summary(datastore)
    assert summary["dice"] == pytest.approx((2 * 0.1 + 10 * 0.9) / 12, abs=1e-4)
    assert summary["newest"] == {"images": 10, "dice": 0.9, "per_structure": {"x": 0.9}, "ts": 111}


def test_what_was_deleted_or_replaced_since_does_not_count(datastore):
    for number, image in enumerate("abc"):
        note(datastore, image, 7 + number, 0.1 * number, {"liver": 0.1 * number})
    assert correction_summary(datastore)["images"] == 3
    datastore.remove_label("a", "final")
    save(datastore, "c", "final", PROPOSAL, SUBMITTED)  # and nothing is there to compare it with
    DiceScoring()({}, datastore)
    summary = correction_summary(datastore)
    assert (summary["images"], summary["dice"], summary["newest"]["ts"]) == (1, 0.1, 8)


def test_a_full_disk_does_not_end_the_scoring(pair, monkeypatch, caplog):
    save(pair, "b", "original", PROPOSAL, PROPOSED)
    save(pair, "b", "final", SUBMISSION, SUBMITTED)

    def full(image, info):
        raise StorageError("The disk is full.")

    monkeypatch.setattr(pair, "update_image_info", full)
    assert DiceScoring()({}, pair).keys() == {"a", "b"}
    assert "The score of b could not be noted: The disk is full." in caplog.text


def test_a_moment_of_little_memory_is_not_remembered(pair, monkeypatch):
    with monkeypatch.context() as short:
        short.setattr(shortage, "available", lambda: 10)
        assert DiceScoring()({}, pair) == {}
    assert scoring.KEY not in pair.get_image_info("a")
    with monkeypatch.context() as short:
        short.setattr(scoring, "read_label", no_memory)
        assert DiceScoring()({}, pair) == {}
    assert DiceScoring()({}, pair).keys() == {"a"}


def no_memory(*_):
    raise MemoryError
