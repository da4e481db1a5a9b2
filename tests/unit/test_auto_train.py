"""Training that the server starts by itself: no label that was submitted is forgotten."""

import threading
import time

import nibabel as nib
import numpy as np
import pytest

from slmsam2.files import stamp_of
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.learning import auto_train as module
from slmsam2.server.learning.auto_train import AutoTrainer
from slmsam2.server.learning.submissions import Submitted
from slmsam2.training.registry import Registry

pytestmark = pytest.mark.unit


@pytest.fixture
def datastore(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in "abcd":
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
    return FolderDatastore(str(folder), extensions=["*.nii.gz"], auto_reload=False)


@pytest.fixture
def submit(datastore, tmp_path):
    label = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), label)
    return lambda image: datastore.save_label(image, str(label), "final", {})


class Trainings:
    """Trainings in the place of MONAI Label's: each takes what is said of it."""

    def __init__(self, datastore, model_dir, *kinds):
        self.datastore, self.model_dir, self.kinds, self.started = datastore, model_dir, list(kinds), 0

    def registry(self):
        return Registry("m", self.model_dir)

    def run(self, *args, **kwargs):
        registry, given = self.registry(), {s.image_id: s.stamp for s in Submitted(self.datastore).all()}
        self.started += 1
        kind = self.kinds.pop(0)
        if kind == "begins":
            registry.begin(given)
        elif kind == "resumes":
            registry.plan_path.unlink()


@pytest.fixture
def trainings(monkeypatch, datastore, tmp_path):
    def of_kinds(*kinds):
        these = Trainings(datastore, tmp_path / "model", *kinds)
        monkeypatch.setattr(module, "processes", lambda kind: {})
        monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
        monkeypatch.setattr(module, "AsyncTask", these)
        return these

    return of_kinds


def trainer_of(trainings, every):
    return AutoTrainer("m", every, lambda: Submitted(trainings.datastore), trainings.registry)


def wait_until_idle(trainer):
    end = time.monotonic() + 10
    while trainer._watching.locked() or trainer._saved.is_set():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_label_saved_after_the_labels_were_listed_counts_for_the_next_training(datastore, submit, tmp_path):
    registry = Registry("m", tmp_path / "model")
    submit("a")
    given = {s.image_id: s.stamp for s in Submitted(datastore).all()}
    submit("b")
    registry.begin(given)
    assert Submitted(datastore).count_new(Registry("m", tmp_path / "model").given) == 1
    submit("a")  # the same again: a person may have corrected it
    assert Submitted(datastore).count_new(registry.given) == 2


def test_a_stamp_tells_what_was_given_from_what_was_saved_over_it_within_a_second(datastore, submit):
    submit("a")
    before = {s.image_id: s.stamp for s in Submitted(datastore).all()}
    assert before == {"a": stamp_of(Submitted(datastore).all()[0].label)}
    assert Submitted(datastore).count_new(before) == 0
    submit("a")
    assert Submitted(datastore).count_new(before) == 1


def test_a_label_saved_while_labels_are_counted_is_counted(trainings, submit, monkeypatch):
    these = trainings("begins")
    trainer = trainer_of(these, every=2)

    def count(submitted, known):
        counted = count_new(submitted, known)
        if counted == 1 and "b" not in saved:
            saved.append("b")
            submit("b")
            trainer.labels_changed()
        return counted

    saved, count_new = [], Submitted.count_new
    monkeypatch.setattr(Submitted, "count_new", count)
    submit("a")
    trainer.labels_changed()
    wait_until_idle(trainer)
    assert these.started == 1


def test_after_a_training_that_went_on_the_next_one_takes_what_is_new(trainings, submit):
    these = trainings("resumes", "begins")
    registry = these.registry()
    registry.begin({})
    registry.plan_path.parent.mkdir(parents=True)
    registry.plan_path.write_text("{}")
    submit("a")
    trainer = trainer_of(these, every=1)
    trainer.labels_changed()
    wait_until_idle(trainer)
    assert these.started == 2
    assert these.registry().given.keys() == {"a"}


def test_a_training_that_has_nothing_to_learn_is_not_started_again_and_again(trainings, submit):
    these = trainings("nothing", "nothing")
    submit("a")
    trainer = trainer_of(these, every=1)
    trainer.labels_changed()
    wait_until_idle(trainer)
    assert these.started == 1


def test_an_archive_that_fails_does_not_end_it_for_good(trainings, submit, monkeypatch, caplog):
    these = trainings("begins")
    trainer = trainer_of(these, every=1)
    submit("a")
    with monkeypatch.context() as broken:
        broken.setattr(Submitted, "count_new", lambda *_: 1 / 0)
        trainer.labels_changed()
        wait_until_idle(trainer)
    assert "cannot be told" in caplog.text
    trainer.labels_changed()
    wait_until_idle(trainer)
    assert these.started == 1
    assert not [one for one in threading.enumerate() if one.name == "auto-train"]


def test_labels_saved_at_another_server_count_and_are_looked_at_once(trainings, submit):
    these = trainings("nothing", "begins")
    trainer = trainer_of(these, every=1)
    for started, image in enumerate("ab", 1):
        submit(image)
        for _ in range(3):
            trainer.look_again()
            wait_until_idle(trainer)
        assert these.started == started
    assert these.registry().given.keys() == {"a", "b"}


def test_an_archive_that_fails_does_not_end_what_looks_again(trainings, monkeypatch, caplog):
    trainer = trainer_of(trainings(), every=1)
    monkeypatch.setattr(Submitted, "marks", lambda submitted: {}["no answer"])
    trainer.look_again()
    assert "Whether there are new labels cannot be told" in caplog.text
