"""Reviews, by MONAI Label's Reviewer module for 3D Slicer and by OHIF's panel: their requests, and what follows.

The module talks to the server by itself (``MONAILabelReviewerLib/MonaiServerREST.py``), without the package's client.
"""

import gzip
import io
import json
import time
import zipfile
from datetime import datetime

import nibabel as nib
import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import AFFINE, painted_slice, phantom, write_nifti, write_nrrd

pytestmark = pytest.mark.server

INFO = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
SECONDS = 60


class Reviewer:
    """The module's requests."""

    def __init__(self, url):
        self.url = url

    def records(self):
        answer = requests.get(f"{self.url}/datastore/?output=all", timeout=5)
        assert answer.status_code == 200, answer.text
        return answer.json()["objects"]

    def label(self, image, tag):
        return requests.get(f"{self.url}/datastore/label?label={image}&tag={tag}", timeout=5)

    def note(self, image, tag, **meta):
        """Approve, flag or comment."""
        meta = {
            "status": "",
            "approvedBy": "rita",
            "level": "",
            "comment": "",
            "editTime": time.time(),
            **meta,
        }
        return requests.put(
            f"{self.url}/datastore/updatelabelinfo?label={image}&tag={tag}",
            headers={"Content-Type": "application/x-www-form-urlencoded", "accept": "application/json"},
            data={"params": json.dumps({"segmentationMeta": meta})},
            timeout=30,
        )

    def save(self, image, file, tag, params):
        """A version of a label, which it saves as NRRD."""
        with open(file, "rb") as stream:
            return requests.put(
                f"{self.url}/datastore/label?image={image}&tag={tag}",
                data={"params": json.dumps(params)},
                files={"label": (f"{image}.nrrd", stream)},
                timeout=30,
            )

    def delete(self, image, tag):
        return requests.delete(f"{self.url}/datastore/label?id={image}&tag={tag}", timeout=30)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    base = tmp_path_factory.mktemp("reviewed")
    (base / "studies").mkdir()
    for name in ("first", "second"):
        write_nifti(base / "studies" / f"{name}.nii.gz", phantom()[0])
    with running_server(base, base / "studies") as server:
        yield server


@pytest.fixture
def reviewer(own_server):
    return Reviewer(own_server.url)


@pytest.fixture
def annotator(own_server, tmp_path):
    return MONAILabelClient(own_server.url, tmpdir=str(tmp_path), client_id="ann")


@pytest.fixture
def submit(annotator, own_server, tmp_path):
    """Submits a label of "first", as 3D Slicer does."""

    def submit_label(array):
        file = write_nifti(tmp_path / "submitted.nii.gz", array)
        annotator.save_label("first", str(file), params={"label_info": INFO, "client_id": "ann"})

    yield submit_label
    for tag in Reviewer(own_server.url).records()["first"]["labels"]:
        Reviewer(own_server.url).delete("first", tag)


def wait_for_shapes(server, expected):
    """What was learnt of the labels, structure -> number of volumes."""
    end = time.monotonic() + SECONDS
    while (known := requests.get(f"{server.url}/info/", timeout=30).json()["shapes"]) != expected:
        assert time.monotonic() < end, known
        time.sleep(0.2)


def test_it_connects_and_lists(reviewer, submit):
    assert requests.get(reviewer.url, timeout=5).status_code == 200
    submit(phantom()[1])
    record = reviewer.records()["first"]
    final = record["labels"]["final"]["info"]
    assert (final["client_id"], final["label_info"], final["name"]) == ("ann", INFO, "first.nii.gz")
    assert record["image"]["info"]["name"] == "first.nii.gz"


def test_flagged_then_corrected(own_server, reviewer, annotator, submit):
    submit(phantom()[1])
    wait_for_shapes(own_server, {"liver": 1, "spleen": 1})
    answer = reviewer.note("first", "final", status="flagged", level="hard", comment="the tip is missing")
    assert answer.status_code == 200, answer.text
    info = reviewer.records()["first"]["labels"]["final"]["info"]
    assert info["segmentationMeta"]["comment"] == "the tip is missing"
    assert (info["label_info"], info["client_id"]) == (INFO, "ann")
    wait_for_shapes(own_server, {})
    told = annotator.info()
    assert told["review"] == {"labelled": 1, "approved": 0, "flagged": 1}
    given = annotator.next_sample("random", {"client_id": "ann"})
    assert (given["id"], given["reason"]) == (
        "first",
        "Its label was flagged by rita: the tip is missing",
    )
    submit(phantom()[1])
    assert "segmentationMeta" not in reviewer.records()["first"]["labels"]["final"]["info"]
    assert annotator.info()["review"]["flagged"] == 0
    wait_for_shapes(own_server, {"liver": 1, "spleen": 1})


def test_a_better_version_is_approved(own_server, reviewer, annotator, submit, tmp_path):
    submit(painted_slice(phantom()[1], 7))
    better = phantom()[1]
    file = write_nrrd(tmp_path / "better.nrrd", better)
    meta = {"status": "approved", "approvedBy": "rita", "level": "easy", "comment": "", "editTime": 1}
    answer = reviewer.save("first", file, "version_1", {"label_info": INFO, "segmentationMeta": meta})
    assert answer.status_code == 200, answer.text

    fetched = reviewer.label(
        "first", "version_1"
    )  # it calls the file "first.nii.gz", as the final one is called
    image = nib.Nifti1Image.from_bytes(gzip.decompress(fetched.content))
    assert np.array_equal(np.asarray(image.dataobj), better)
    assert np.allclose(image.affine, AFFINE)

    archive = requests.get(f"{own_server.url}/datastore/dataset", timeout=30).content
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        label = nib.Nifti1Image.from_bytes(gzip.decompress(files.read("label/first.nii.gz")))
    assert np.array_equal(np.asarray(label.dataobj), better)
    assert annotator.info()["review"] == {"labelled": 1, "approved": 1, "flagged": 0}
    wait_for_shapes(own_server, {"liver": 1, "spleen": 1})

    assert reviewer.save("first", file, "version_1", {"label_info": INFO}).status_code == 200  # written over
    assert annotator.info()["review"]["approved"] == 0
    assert reviewer.delete("first", "version_1").status_code == 200
    assert list(reviewer.records()["first"]["labels"]) == ["final"]


def test_an_earlier_label_that_it_writes_over_is_looked_at_like_its_own(
    reviewer, submit, own_server, tmp_path
):
    submit(painted_slice(phantom()[1], 7))
    other = MONAILabelClient(own_server.url, tmpdir=str(tmp_path), client_id="bob")
    file = write_nifti(tmp_path / "other.nii.gz", phantom()[1])
    other.save_label("first", str(file), params={"label_info": INFO, "client_id": "bob"})
    (earlier,) = set(reviewer.records()["first"]["labels"]) - {"final"}
    damaged = tmp_path / "damaged.nrrd"
    damaged.write_bytes(b"no label")
    answer = reviewer.save("first", damaged, earlier, {"label_info": INFO})
    assert (answer.status_code, "not saved" in answer.json()["detail"]) == (400, True), answer.text
    better = write_nrrd(tmp_path / "better.nrrd", phantom()[1])
    answer = reviewer.save("first", better, earlier, {"label_info": INFO})
    assert answer.status_code == 200, answer.text
    fetched = nib.Nifti1Image.from_bytes(gzip.decompress(reviewer.label("first", earlier).content))
    assert np.array_equal(np.asarray(fetched.dataobj), phantom()[1])


def test_what_it_cannot_save_is_said(own_server, reviewer, submit, tmp_path):
    submit(phantom()[1])
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] += 900
    file = write_nrrd(tmp_path / "elsewhere.nrrd", phantom()[1], elsewhere)
    answer = reviewer.save("first", file, "version_1", {"label_info": INFO})
    assert (answer.status_code, "not saved" in answer.json()["detail"]) == (400, True), answer.text
    answer = reviewer.note("first", "version_7", status="approved")
    assert answer.status_code == 404
    answer = requests.put(
        f"{own_server.url}/datastore/updatelabelinfo?label=first&tag=final",
        data={"params": json.dumps({"segmentationMeta": "approved"})},
        timeout=30,
    )
    assert (answer.status_code, "must be an object" in answer.json()["detail"]) == (400, True), answer.text
    assert list(reviewer.records()["first"]["labels"]) == ["final"]


def ask_review(server, image="first", method="GET", **review):
    return requests.request(method, f"{server.url}/slmsam2/review/{image}", json=review or None, timeout=30)


def test_what_ohif_shows_and_notes(own_server, reviewer, submit):
    assert ask_review(own_server).json() == {"label": None}
    submit(phantom()[1])
    label = ask_review(own_server).json()["label"]
    assert (label["status"], label["creator"], label["reviewer"]) == ("", "ann", "")
    assert abs(datetime.fromisoformat(label["made"]).timestamp() - time.time()) < SECONDS
    said = {"status": "flagged", "comment": " the tip is missing ", "mark": label["mark"]}
    answer = ask_review(own_server, method="POST", **said).json()["label"]
    assert answer == {**label, "status": "flagged", "comment": "the tip is missing"}
    assert ask_review(own_server).json()["label"] == answer
    meta = reviewer.records()["first"]["labels"]["final"]["info"]["segmentationMeta"]
    assert (meta["status"], meta["comment"], meta["level"]) == ("flagged", "the tip is missing", "")
    reviewer.note("first", "final", status="approved")
    shown = ask_review(own_server).json()["label"]
    assert (shown["status"], shown["reviewer"]) == ("approved", "rita")
    for client, name in (("Otto", "Otto"), ("browser-0a", "")):
        said = {"status": "approved", "mark": label["mark"], "client_id": client, "user": "somebody else"}
        assert ask_review(own_server, method="POST", **said).json()["label"]["reviewer"] == name


def test_what_ohif_cannot_note_is_said(own_server, submit):
    assert ask_review(own_server, method="POST", status="approved", mark="").status_code == 404
    assert ask_review(own_server, "no such image", method="POST", status="approved").status_code == 404
    submit(phantom()[1])
    mark = ask_review(own_server).json()["label"]["mark"]
    for said, status, sentence in (
        ({"status": "excellent", "mark": mark}, 400, "A review's status is"),
        ({"status": "flagged", "comment": 7, "mark": mark}, 400, "must be a text"),
        ({"status": "approved", "mark": "another"}, 409, "Another label was saved"),
    ):
        answer = ask_review(own_server, method="POST", **said)
        assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text
    assert ask_review(own_server).json()["label"]["status"] == ""
