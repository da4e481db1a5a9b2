"""What is known of a structure from others' labels helps in the next image, by the stock client."""

import time

import numpy as np
import pytest
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import write_nifti

from slmsam2.masks import largest_slice, only_slice
from slmsam2.metrics import dice
from slmsam2.modeling import build_model, checkpoint_path, save_checkpoint
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.synthesis.subjects import STRUCTURES, make_subject
from slmsam2.training.registry import Registry, Version
from slmsam2.volume import read_label

pytestmark = pytest.mark.server

LEARNT, OTHER, THIRD, NEXT, LAST = 0, 1, 2, 10_001, 10_006  # subjects
SECONDS = 120


@pytest.fixture(scope="module")
def subjects():
    return {number: make_subject(number) for number in (LEARNT, OTHER, THIRD, NEXT, LAST)}


@pytest.fixture(scope="module")
def studies(subjects, tmp_path_factory):
    folder = tmp_path_factory.mktemp("subjects")
    for number, subject in subjects.items():
        write_nifti(folder / f"subject_{number}.nii.gz", subject.image, subject.affine)
    return folder


@pytest.fixture
def submitted_before(request, studies, subjects):
    """A label that nobody has learnt yet when the server starts."""
    store = FolderDatastore(str(studies), extensions=["*.nii.gz"], auto_reload=False)
    wall = (subjects[LEARNT].label == STRUCTURES["wall"]).astype(np.uint8)
    path = write_nifti(studies.parent / "before.nii.gz", wall, subjects[LEARNT].affine)
    store.save_label(f"subject_{LEARNT}", str(path), "final", {"label_info": [{"name": "earlier", "idx": 1}]})
    yield
    store.remove_label(f"subject_{LEARNT}", "final")


@pytest.fixture
def own_server(studies, tmp_path, request):
    weights = checkpoint_path("slm_sam2_nano")
    (tmp_path / "model" / "checkpoints").mkdir(parents=True)
    (tmp_path / "model" / "checkpoints" / weights.name).symlink_to(weights)
    (tmp_path / "model" / "configs").symlink_to(weights.parents[1] / "configs")
    options = ["--conf", "model_dir", str(tmp_path / "model"), *getattr(request, "param", [])]
    with running_server(tmp_path, studies, *options) as server:
        yield server


class Annotator:
    """Somebody who works on the wall, with a client of their own."""

    def __init__(self, server, subjects, folder, name):
        self.client = MONAILabelClient(server.url, tmpdir=str(folder), client_id=name)
        self.subjects, self.folder = subjects, folder

    def wall(self, number):
        return self.subjects[number].label == STRUCTURES["wall"]

    def submit(self, number, name="wall"):
        path = write_nifti(
            self.folder / "label.nii.gz", self.wall(number).astype(np.uint8), self.subjects[number].affine
        )
        params = {"label_info": [{"name": name, "idx": 1}]}
        self.client.save_label(f"subject_{number}", str(path), tag="final", params=params)

    def propagate(self, given, name="wall", number=NEXT, label=None):
        """Dice of the wall in another subject, from some of its slices, or from a label as it was sent and corrected on
        the last of these; and the report. The label that is sent stays in ``proposal``."""
        wall = self.wall(number)
        painted = np.logical_or.reduce([only_slice(wall, 2, index) for index in given])
        if label is not None:
            painted = label.copy()
            painted[..., given[-1]] = wall[..., given[-1]]
        path = write_nifti(
            self.folder / "painted.nii.gz", painted.astype(np.uint8), self.subjects[number].affine
        )
        params = {"label_info": [{"name": name, "id": 1}], "result_extension": ".nii.gz"}
        file, reply = self.client.infer("slmsam2", f"subject_{number}", params, label_in=str(path))
        self.proposal = read_label(file).array > 0
        return dice(self.proposal, wall), reply["report"]

    def wait_for(self, volumes, what="looks"):
        deadline = time.monotonic() + SECONDS
        while self.client.info()[what] != volumes:
            assert time.monotonic() < deadline, self.client.info()[what]
            time.sleep(0.5)


@pytest.fixture
def annotator(own_server, subjects, tmp_path):
    return Annotator(own_server, subjects, tmp_path, "anna")


@pytest.mark.usefixtures("submitted_before")
def test_a_server_that_starts_or_has_other_weights_catches_up(annotator, tmp_path):
    annotator.wait_for({"earlier": 1})
    annotator.wait_for({"earlier": 1}, "shapes")
    registry = Registry("slm_sam2_nano", tmp_path / "model")
    registry.folder.mkdir(parents=True, exist_ok=True)
    network = build_model("slm_sam2_nano", checkpoint=registry.path(None))
    save_checkpoint(registry.path("learned-1"), network, version="learned-1", trained={"looks_of": {}})
    registry.publish(Version("learned-1", None, time.time(), {}, ["wall"]))
    assert annotator.client.info()["looks"] == {}  # in the features of these weights nothing is known yet
    annotator.propagate([largest_slice(annotator.wall(NEXT), 2)])
    annotator.wait_for({"earlier": 1})


def test_the_next_image_gains_and_others_do_not_disturb_what_is_under_way(
    annotator, own_server, subjects, tmp_path
):
    start = largest_slice(annotator.wall(NEXT), 2)
    before, report = annotator.propagate([start])
    assert report["looks"] == []
    annotator.submit(LEARNT)
    annotator.wait_for({"wall": 1})

    # the structure under way stays as it is for who works on it: a further slice changes its own span only
    _, report = annotator.propagate([start, start - 6])
    assert report["looks"] == []
    facts = report["structures"]["wall"]
    assert facts["redone"]
    assert max(facts["redone"]) < start

    other = tmp_path / "other"
    other.mkdir()
    berta = Annotator(own_server, subjects, other, "berta")
    after, report = berta.propagate([start])
    assert report["looks"] == ["wall"]
    assert after > before + 0.02
    assert berta.propagate([start], name="something else")[1]["looks"] == []

    berta.submit(OTHER)
    berta.submit(LEARNT, name="renamed")  # in place of the first one
    berta.wait_for({"wall": 1, "renamed": 1})


def test_its_shape_tells_the_ends_once_three_volumes_have_it(annotator, own_server, subjects, tmp_path):
    start = largest_slice(annotator.wall(LAST), 2)
    _, report = annotator.propagate([start], number=LAST)
    assert report["shapes"] == []
    for number in (LEARNT, OTHER, THIRD):
        annotator.submit(number)
    annotator.wait_for({"wall": 3}, "shapes")

    # as with looks, what is under way stays
    assert annotator.propagate([start, start - 6], number=LAST)[1]["shapes"] == []
    other = tmp_path / "other"
    other.mkdir()
    berta = Annotator(own_server, subjects, other, "berta")
    _, report = berta.propagate([start], number=LAST)
    assert report["shapes"] == ["wall"]
    facts = report["structures"]["wall"]
    there = np.flatnonzero(annotator.wall(LAST).any(axis=(0, 1)))
    assert there[0] - 3 <= facts["first"] < start < facts["last"] <= there[-1] + 3
    # a correction places the shapes anew, but changes the slices up to the next given one only
    before = berta.proposal
    _, report = berta.propagate([start - 6], number=LAST, label=before)
    assert report["shapes"] == ["wall"]
    facts = report["structures"]["wall"]
    assert sorted({start, start - 6}) == facts["painted"]
    changed = np.flatnonzero((berta.proposal != before).any(axis=(0, 1)))
    assert set(changed) <= {*facts["redone"], start - 6}
    assert max(changed) < start
    assert berta.propagate([start], name="something else", number=LAST)[1]["shapes"] == []


@pytest.mark.parametrize("own_server", [["--conf", "looks", "false"]], indirect=True)
def test_it_can_be_switched_off(annotator, tmp_path):
    annotator.submit(LEARNT)
    time.sleep(3)
    assert annotator.client.info()["looks"] == {}
    assert annotator.client.info()["shapes"] == {}
    assert not (tmp_path / "model" / "checkpoints" / "learned").exists()
