"""What reviewers say of labels: which one counts, what is learnt from, and who is asked to correct it."""

import copy
import gzip
import json
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from slmsam2.errors import PromptError
from slmsam2.server.datastore import folder, reviews
from slmsam2.server.datastore.finals import as_final_is
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.label_records import flagged_images, label_infos, review_summary
from slmsam2.server.datastore.reviews import Review, review_of, signed, tag_that_counts
from slmsam2.server.learning.submissions import Submitted
from slmsam2.server.requests.received import Received
from slmsam2.server.requests.study import find_study
from slmsam2.server.routes.dataset import pack
from slmsam2.server.sampling import HandedOut, Random

pytestmark = pytest.mark.unit


class Clock:
    """Seconds since 1970, one more each time."""

    def __init__(self):
        self.now = 1_700_000_000

    def time(self):
        self.now += 1
        return self.now

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Nothing happens in the same second as something else."""
    clock = Clock()
    monkeypatch.setattr(reviews, "time", clock)
    monkeypatch.setattr(folder, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    for name in "abcd":
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), studies / f"{name}.nii.gz")
    return FolderDatastore(str(studies), extensions=["*.nii.gz"], auto_reload=False)


@pytest.fixture
def save(store, tmp_path):
    """Saves a label whose voxels all have a value."""

    def save_label(value, image="a", tag="final", by="ann", **info):
        path = tmp_path / "label.nii.gz"
        nib.save(nib.Nifti1Image(np.full((4, 4, 4), value, np.uint8), np.eye(4)), path)
        store.save_label(image, str(path), tag, {"client_id": by, **info})

    return save_label


@pytest.fixture
def review(store, clock):
    """Notes what a reviewer says, as MONAI Label's Reviewer sends it."""

    def note(status, image="a", tag="final", by="rita", comment=""):
        told = {"status": status, "approvedBy": by, "level": "", "comment": comment, "editTime": clock.time()}
        store.update_label_info(image, tag, {"segmentationMeta": told})

    return note


def counts(store, only_approved=False):
    return tag_that_counts(label_infos(store, "a"), only_approved)


def learnt(store, only_approved=False):
    """Image -> value in the label that is learnt from."""
    found = Submitted(store, only_approved).all()
    return {one.image_id: int(nib.load(one.label).dataobj[0, 0, 0]) for one in found}


def test_what_is_flagged_is_learnt_from_no_more_until_it_is_submitted_again(store, save, review):
    save(1)
    save(2, "b")
    assert learnt(store) == {"a": 1, "b": 2}
    review("flagged", comment=" the tip is missing ")
    assert learnt(store) == {"b": 2}
    assert Submitted(store).marks().keys() == {"b"}
    assert Submitted(store).count_new({}) == 1
    info = store.get_label_info("a", "final")
    assert review_of(info) == Review("flagged", "rita", "the tip is missing", info["reviewed"])
    save(3)
    assert review_of(store.get_label_info("a", "final")) == Review()
    assert learnt(store) == {"a": 3, "b": 2}


def test_approved_versions_count_in_place_of_final_labels_until_one_is_newer(store, save, review):
    save(1)
    save(2, tag="version_1", by="rita")
    assert counts(store) == "final"
    review("approved", tag="version_1")
    assert counts(store) == counts(store, only_approved=True) == "version_1"
    assert learnt(store) == {"a": 2}
    save(3)
    assert (counts(store), counts(store, only_approved=True)) == ("final", "version_1")
    review("flagged")
    assert counts(store) == "version_1"
    review("approved")
    assert counts(store) == counts(store, only_approved=True) == "final"
    assert learnt(store, only_approved=True) == {"a": 3}


def test_only_what_is_approved_counts_if_that_is_wanted(store, save, review):
    save(1)
    save(2, "b")
    review("approved", "b")
    assert learnt(store, only_approved=True) == {"b": 2}
    assert Submitted(store, only_approved=True).of("a") is None
    review("", "b")
    assert learnt(store, only_approved=True) == {}
    assert learnt(store) == {"a": 1, "b": 2}


@pytest.mark.parametrize("again", ["ann", "bob"])
def test_an_approved_label_that_is_replaced_stays_and_stays_approved(store, save, review, again):
    save(1)
    review("approved")
    save(2, by=again)
    (earlier,) = set(label_infos(store, "a")) - {"final"}
    assert counts(store, only_approved=True) == earlier
    assert learnt(store, only_approved=True) == {"a": 1}
    assert learnt(store) == {"a": 2}
    info = store.get_label_info("a", earlier)
    assert (info["client_id"], "segmentationMeta" in info) == (
        "ann",
        False,
    )  # else the Reviewer would show this one
    assert int(earlier.partition("_")[2]) > 0  # it takes what is behind the line for a number


def test_an_approved_label_that_is_submitted_again_as_it_is_stays_approved(store, save, review):
    save(1)
    review("approved")
    save(1)
    assert learnt(store, only_approved=True) == {"a": 1}
    assert review_of(store.get_label_info("a", "final")) == Review()


def test_what_a_reviewer_writes_over_counts_no_more(store, save, review):
    save(1)
    save(2, tag="version_1", by=None)  # as the Reviewer sends it
    review("approved", tag="version_1")
    save(3, tag="version_1", by=None)
    assert learnt(store) == {"a": 1}
    assert learnt(store, only_approved=True) == {}
    assert sorted(label_infos(store, "a"))[:2] == ["final", "version_1"]
    assert len(label_infos(store, "a")) == 3  # it is there, still
    review("approved", tag="version_1")
    assert learnt(store) == {"a": 3}


def test_a_review_does_not_make_a_label_new(store, save, review):
    save(1)
    before = Submitted(store).marks()
    review("approved")
    assert Submitted(store).marks() == before


@pytest.mark.parametrize("meta", ["flagged", 3, None, ["status"]])
def test_a_review_that_is_none_is_refused(store, save, meta):
    save(1)
    with pytest.raises(PromptError, match="must be an object"):
        store.update_label_info("a", "final", {"segmentationMeta": meta})
    with pytest.raises(PromptError, match="must be an object"):
        save(1, segmentationMeta=meta)
    assert review_of({"segmentationMeta": meta}) == Review()
    assert "segmentationMeta" not in store.get_label_info("a", "final")


def test_a_review_is_kept_whole_and_says_nothing_where_it_cannot_be_read(store, save):
    save(1)
    store.update_label_info("a", "final", {"segmentationMeta": {"status": "excellent", "comment": 7}})
    meta = store.get_label_info("a", "final")["segmentationMeta"]
    assert meta == {"status": "excellent", "approvedBy": "", "level": "", "comment": 7, "editTime": ""}
    found = review_of(store.get_label_info("a", "final"))
    assert (found.status, found.reviewer, found.comment) == ("", "", "")


@pytest.mark.parametrize("when", ["late", 10**309, [1]], ids=["text", "huge", "list"])
def test_when_something_was_saved_or_reviewed_is_not_for_clients_to_say(store, save, review, when):
    save(1, ts=when, reviewed=when)
    save(2, tag="version_1", by="rita")
    review("approved", tag="version_1")
    before = copy.deepcopy(label_infos(store, "a"))
    for tag in before:
        store.update_label_info("a", tag, {"ts": when, "reviewed": when})
    assert label_infos(store, "a") == before
    assert counts(store) == "version_1"
    save(3, by="bob")  # over what ann saved then
    assert (counts(store), len(label_infos(store, "a"))) == ("final", 3)


def test_who_signed_in_is_who_reviews_and_does_not_become_who_saved():
    meta = {"status": "approved", "approvedBy": "somebody else"}
    told = {"segmentationMeta": meta, "user": "rita", "checked": True}
    expected = {"segmentationMeta": {"status": "approved", "approvedBy": "rita"}, "checked": True}
    assert signed(told, "rita") == expected
    nothing = {"segmentationMeta": {"status": "", "approvedBy": "omar"}}
    assert signed(nothing, "rita") == nothing


def test_how_many_are_reviewed(store, save, review):
    assert review_summary(store) == {"labelled": 0, "approved": 0, "flagged": 0}
    for image in "abc":
        save(1, image)
    save(1, tag="version_1", by="rita")
    review("approved", tag="version_1")
    review("flagged")
    review("flagged", "b")
    assert review_summary(store) == {"labelled": 3, "approved": 1, "flagged": 1}


def test_what_a_reviewer_has_made_better_is_not_to_be_corrected(store, save, review):
    save(1)
    review("flagged")
    save(2, tag="version_1", by="rita")
    assert flagged_images(store).keys() == {"a"}
    review("approved", tag="version_1")
    review("flagged")  # as the Reviewer says once more
    assert (flagged_images(store), review_summary(store)["flagged"]) == ({}, 0)
    save(3)
    review("flagged")
    assert flagged_images(store).keys() == {"a"}


@pytest.mark.parametrize("saves", [1, 2])
def test_a_review_of_the_label_before_is_not_noted_with_the_one_that_answers_it(store, save, saves):
    save(1)
    old = {
        "status": "flagged",
        "approvedBy": "rita",
        "level": "",
        "comment": "the tip is missing",
        "editTime": 7,
    }
    store.update_label_info("a", "final", {"segmentationMeta": old})
    for value in range(saves):
        save(2 + value, answered="by a client")
    store.update_label_info("a", "final", {"segmentationMeta": {**old, "level": "easy"}, "checked": True})
    info = store.get_label_info("a", "final")
    assert (review_of(info), info["checked"]) == (Review(), True)
    store.update_label_info("a", "final", {"segmentationMeta": {**old, "editTime": 8}})
    assert review_of(store.get_label_info("a", "final")).status == "flagged"


def next_for(client, store, handed):
    return Random(handed)({"client_id": client}, store)


def test_flagged_labels_come_to_whose_they_are_first_and_to_others_last(store, save, review):
    for image, by in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        save(1, image, by=by)
    review("flagged", "c", comment="the tip is missing")
    review("flagged", "a")
    review("flagged", "b", by="")
    handed = HandedOut()
    given = next_for("ann", store, handed)
    assert (given["id"], given["reason"]) == ("c", "Its label was flagged by rita: the tip is missing")
    assert next_for("ann", store, handed)["id"] == "a"
    assert next_for("eve", store, handed)["id"] == "d"
    given = next_for("eve", store, handed)
    assert (given["id"], given["reason"]) == ("b", "Its label was flagged.")
    assert next_for("ann", store, handed)["id"] == "c"  # again, as nothing else is left
    review("approved", "a")
    review("approved", "b")
    review("approved", "c")
    save(1, "d")
    assert next_for("ann", store, HandedOut()) is None


def test_who_was_handed_an_image_before_it_was_flagged_gets_it_again(store, save, review, clock):
    handed = HandedOut(clock.time)
    given = next_for("ann", store, handed)["id"]
    save(1, given)
    review("flagged", given)
    assert next_for("ann", store, handed)["id"] == given
    assert next_for("ann", store, handed)["id"] != given


@pytest.mark.parametrize("nobody", [None, "user-xyz", 3])
def test_a_flagged_label_of_nobody_is_nobodys_own(store, save, review, nobody):
    save(1, by=nobody)
    review("flagged")
    assert flagged_images(store)["a"].annotator is None
    assert next_for(nobody, store, HandedOut())["id"] != "a"


def test_the_dataset_has_what_was_approved(store, save, review):
    save(1)
    save(2, "b")
    save(3, tag="version_1", by="rita")
    review("approved", tag="version_1")
    with zipfile.ZipFile(pack(store)) as archive:
        labels = [nib.Nifti1Image.from_bytes(_unpacked(archive, f"label/{image}.nii.gz")) for image in "ab"]
        told = json.loads(archive.read("metadata.json"))
    assert [int(label.dataobj[0, 0, 0]) for label in labels] == [3, 2]
    assert review_of(told["objects"]["a"]["labels"]["version_1"]["info"]).status == "approved"


def test_the_dataset_lacks_what_is_deleted_while_it_is_packed(store, save, monkeypatch):
    save(1)
    save(2, "b")
    cases = store.datalist()

    def listed():
        store.remove_label("a", "final")
        return cases

    monkeypatch.setattr(store, "datalist", listed)
    with zipfile.ZipFile(pack(store)) as archive:
        assert sorted(archive.namelist()) == ["image/b.nii.gz", "label/b.nii.gz", "metadata.json"]


def _unpacked(archive, name):
    return gzip.decompress(archive.read(name))


def test_a_saved_label_to_go_on_with_is_the_one_that_counts(store, save, review):
    save(1)
    save(2, tag="version_1", by="rita")

    def saved():
        return nib.load(find_study({"image": "a"}, Received(), store, None).label).dataobj[0, 0, 0]

    assert saved() == 1
    review("approved", tag="version_1")
    assert saved() == 2
    review("", tag="version_1")
    review("flagged")
    assert saved() == 1  # it is to be corrected


@pytest.mark.parametrize("final", [True, False])
def test_what_the_reviewer_saves_is_a_file_of_the_final_labels_kind(store, save, tmp_path, final):
    if final:
        save(1)
    array = np.zeros((4, 4, 4), np.uint8)
    array[1, 2, 3] = 5
    path = tmp_path / "version.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(array.T), str(path))
    with as_final_is(store, "a", path) as file:
        assert file.name.endswith(".nii.gz" if final else ".nrrd")
        if final:
            image = nib.load(file)
            assert np.array_equal(np.asarray(image.dataobj), array)
            assert np.array_equal(np.diag(image.affine), [-1, -1, 1, 1])
    assert path.exists()
