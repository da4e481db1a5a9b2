"""Which image is handed to whom."""

import gzip
import logging
import threading
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fastapi import HTTPException
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.exception import ImageNotFoundException

from slmsam2.errors import CheckpointError
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.sampling import HandedOut, LeastConfident, MostDifferent, Random, confidence_note
from slmsam2.server.sampling.confidence import mean_confidence, recorded_confidence
from slmsam2.server.sampling.handed_out import RECENT_SECONDS, RENEWED_SECONDS

pytestmark = pytest.mark.unit

IMAGES = ["a", "b", "c", "d", "e"]
REPORT = {
    "version": "v1",
    "structures": {
        "liver": {
            "first": 2,
            "last": 5,
            "painted": [3],
            "confidence": {1: 0.1, 2: 0.8, 3: 1.0, 4: 0.6, 5: 0.7},
        },
        "spleen": {"first": 2, "last": 3, "painted": [3], "confidence": {"2": 0.3, "3": 1.0, "9": 0.9}},
        "vein": {"first": None, "last": None, "painted": [3], "confidence": {3: 1.0, 4: 0.2}},
    },
}


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


class FixedVectors:
    """Directions in the plane, by the image's id."""

    def __init__(self, degrees):
        self.known = {i: np.array([np.cos(np.radians(d)), np.sin(np.radians(d))]) for i, d in degrees.items()}

    def vectors(self, images, datastore):
        return {image: self.known[image] for image in images if image in self.known}


class NoWeights:
    def vectors(self, images, datastore):
        raise CheckpointError("There is no weights file.")


class Archive(LocalDatastore):
    """As a DICOMweb datastore: keeps no info of images it never fetched."""

    def update_image_info(self, image_id, info):
        raise ImageNotFoundException(f"Image {image_id} not found")


def make(folder, kind=LocalDatastore):
    folder.mkdir()
    for image in IMAGES:
        nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), folder / f"{image}.nii.gz")
    return kind(str(folder), extensions=["*.nii.gz"])


@pytest.fixture
def datastore(tmp_path):
    return make(tmp_path / "studies")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def handed(clock):
    return HandedOut(clock)


def submit(datastore, image, tag="final", info=None):
    label = datastore.get_image_uri(image)
    datastore.save_label(image, label, tag, info or {})


def ask(strategy, datastore, client, note=True):
    """Next Sample, as MONAI Label's endpoint does it: the strategy, then the record in the image's info."""
    reply = strategy({"client_id": client}, datastore)
    if reply and note:
        told = datastore.get_image_info(reply["id"]).get("strategy", {})
        told["any"] = {"ts": int(strategy._handed._clock()), "client_id": client}
        datastore.update_image_info(reply["id"], {"strategy": told})
    return reply and reply["id"]


def ask_all(strategy, datastore, client, note=True):
    return [ask(strategy, datastore, client, note) for _ in IMAGES]


def test_random_is_uniform_over_unlabelled_images(datastore, clock):
    submit(datastore, "c")
    drawn = Counter(Random(HandedOut(clock))({}, datastore)["id"] for _ in range(800))
    assert sorted(drawn) == ["a", "b", "d", "e"]
    assert min(drawn.values()) > 140  # 200 expected; below 140 once in a million
    reply = Random(HandedOut(clock))({}, datastore)
    assert reply["score"] == 0.25
    assert reply["reason"] == "Drawn at random from 4 images."


@pytest.mark.parametrize("kind", [LocalDatastore, Archive])
def test_nothing_is_left(tmp_path, handed, kind):
    datastore = make(tmp_path / "studies", kind)
    for image in IMAGES:
        submit(datastore, image)
    different = MostDifferent(handed, FixedVectors({}))
    for strategy in (Random(handed), LeastConfident(handed, different), different):
        assert strategy({"client_id": "me"}, datastore) is None


def test_what_others_have_is_left_out_for_a_quarter_of_an_hour(datastore, handed, clock):
    strategy = Random(handed)
    theirs = {ask(strategy, datastore, "she"), ask(strategy, datastore, "he")}
    assert len(theirs) == 2
    clock.now += RECENT_SECONDS - 1
    assert not theirs & {ask(strategy, datastore, "me") for _ in range(20)}
    clock.now += 2
    for image in set(IMAGES) - theirs:
        submit(datastore, image)
    assert {ask(strategy, datastore, "me"), ask(strategy, datastore, "me")} == theirs


def test_the_record_in_the_image_info_counts_after_a_restart(datastore, clock):
    noted = {
        "anything": {"ts": int(clock.now) - 60, "client_id": "she"},
        "older": {"ts": 5, "client_id": "me"},
    }
    for image in "abcd":
        datastore.update_image_info(image, {"strategy": noted})
    assert ask(Random(HandedOut(clock)), datastore, "me") == "e"


def test_servers_of_one_folder_hand_out_different_images(tmp_path, clock):
    """Before MONAI Label's own record is written; the last image is refused at both."""
    stores = [make(tmp_path / "studies", FolderDatastore), FolderDatastore(str(tmp_path / "studies"))]
    servers = [Random(HandedOut(clock)) for _ in stores]
    turns = [*zip(servers, stores, strict=True)] * 3
    given = [ask(server, store, f"who{n}", note=False) for n, (server, store) in enumerate(turns[:5])]
    assert sorted(given) == list(IMAGES)
    for server, store in turns[:2]:
        with pytest.raises(HTTPException) as refused:
            ask(server, store, "late", note=False)
        assert refused.value.status_code == 409
    assert not servers[0]._handed.take("a", "late", stores[0])
    clock.now += RECENT_SECONDS + 1
    assert servers[0]._handed.take("a", "late", stores[0])
    assert not servers[1]._handed.take("a", "later", stores[1])


def test_who_works_on_an_image_keeps_it(datastore, handed, clock):
    strategy = Random(handed)
    mine = ask(strategy, datastore, "me")
    ask_all(strategy, datastore, "she", note=False)
    clock.now += RECENT_SECONDS - 10
    handed.go_on(mine, "me", datastore, {})
    clock.now += RECENT_SECONDS - 10
    assert mine not in {ask(strategy, datastore, "he") for _ in range(20)}
    clock.now += 20
    handed.go_on(mine, "me", datastore, {})  # it is free again: looking at an image does not take it
    for image in set(IMAGES) - {mine}:
        submit(datastore, image)
    assert ask(strategy, datastore, "he") == mine


def test_working_on_what_another_has_takes_nothing_from_them(datastore, handed, clock):
    theirs = ask(Random(handed), datastore, "she")
    clock.now += RECENT_SECONDS - 10
    handed.go_on(theirs, "me", datastore, {})
    assert handed.holders([theirs], datastore)[theirs].client == "she"
    clock.now += 20
    assert handed.holders([theirs], datastore) == {}


def test_an_inference_never_fails_because_of_a_note(datastore, handed, clock, monkeypatch, caplog):
    def gone(image):
        raise ImageNotFoundException(f"Image {image} not found")

    monkeypatch.setattr(datastore, "get_image_info", gone)
    handed.go_on("a", "me", datastore, {})
    assert "could not be noted" in caplog.text


def test_servers_of_one_folder_know_who_goes_on_with_an_image(tmp_path, clock):
    stores = [make(tmp_path / "studies", FolderDatastore), FolderDatastore(str(tmp_path / "studies"))]
    servers = [HandedOut(clock) for _ in stores]
    assert servers[0].take("a", "me", stores[0])
    clock.now += RECENT_SECONDS - 10
    servers[0].go_on("a", "me", stores[0], {})
    clock.now += 20
    assert not servers[1].take("a", "she", stores[1])


@pytest.mark.parametrize("junk", ["text", 5, {"x": "y"}, {"x": {"ts": "late"}}, {"x": {}}])
def test_other_things_in_the_image_info_are_passed_over(datastore, handed, junk):
    for image in IMAGES:
        datastore.update_image_info(image, {"strategy": junk, "slmsam2": junk})
    strategy = LeastConfident(handed, MostDifferent(handed, FixedVectors({})))
    assert strategy({"client_id": "me"}, datastore)["id"] in IMAGES


def test_a_record_from_the_future_does_not_block_for_ever(datastore, handed, clock):
    for image in IMAGES:
        note = {"x": {"ts": int(clock.now) + 10 * RECENT_SECONDS, "client_id": "she"}}
        datastore.update_image_info(image, {"strategy": note})
    assert ask(Random(handed), datastore, "me") in IMAGES


@pytest.mark.parametrize("client", ["me", None])
def test_asking_again_gives_another_image_then_the_one_of_longest_ago(datastore, handed, clock, client):
    strategy = Random(handed)
    order = []
    for _ in IMAGES:
        order.append(ask(strategy, datastore, client))
        clock.now += 10
    assert sorted(order) == IMAGES
    again = strategy({"client_id": client}, datastore)
    assert again["id"] == order[0]
    assert "before" in again["reason"]
    assert ask(strategy, datastore, client) == order[1]


def test_only_what_others_have_is_refused_with_a_sentence(datastore, handed, clock):
    strategy = Random(handed)
    ask_all(strategy, datastore, "she")
    clock.now += 5 * 60
    with pytest.raises(HTTPException) as refused:
        strategy({"client_id": "me"}, datastore)
    assert refused.value.status_code == 409
    assert "All 5 images" in refused.value.detail
    assert "in 10 min" in refused.value.detail
    clock.now += 10 * 60
    assert ask(strategy, datastore, "me") in IMAGES


def test_requests_of_one_moment_get_different_images(datastore, handed):
    """All rank before any of them takes an image; MONAI Label notes nothing until later."""
    strategy = MostDifferent(handed, FixedVectors(dict(zip(IMAGES, (0, 10, 20, 30, 40), strict=True))))
    together = threading.Barrier(len(IMAGES))
    rank, got = strategy.rank, []

    def rank_together(images, store):
        ranked = rank(images, store)
        if len(images) == len(IMAGES):
            together.wait(10)
        return ranked

    strategy.rank = rank_together
    threads = [
        threading.Thread(target=lambda n=n: got.append(strategy({"client_id": n}, datastore)["id"]))
        for n in range(len(IMAGES))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == IMAGES


def test_a_datastore_that_keeps_no_info(tmp_path, handed):
    datastore = make(tmp_path / "studies", Archive)
    submit(datastore, "c")
    strategy = Random(handed)
    drawn = [ask(strategy, datastore, str(n), note=False) for n in range(4)]
    assert sorted(drawn) == ["a", "b", "d", "e"]


def test_mean_confidence():
    # liver: slices 2, 4, 5; spleen: slice 2; vein: nothing found; what is painted or outside does not count
    assert mean_confidence(REPORT) == pytest.approx(((0.8 + 0.6 + 0.7) / 3 + 0.3) / 2)
    assert mean_confidence({"structures": {"vein": REPORT["structures"]["vein"]}}) is None


def test_least_confident(datastore, handed):
    for image, confidence in {"a": 0.9, "b": 0.4, "d": 0.6}.items():
        datastore.update_image_info(image, {"slmsam2": {"confidence": confidence}})
    submit(datastore, "c", "original", {"params": {"report": REPORT}})
    strategy = LeastConfident(handed, MostDifferent(handed, FixedVectors({})))
    first = strategy({"client_id": "me"}, datastore)
    assert first["id"] == "b"
    assert first["score"] == 0.4
    assert "40%" in first["reason"]
    # c: 0.5 by its proposal; nothing is known of e, which comes last
    assert ask_all(strategy, datastore, "me")[:4] == ["c", "d", "a", "e"]


def test_least_confident_without_any_record(datastore, handed):
    datastore.update_image_info("b", {"slmsam2": {"confidence": 0.1}})
    submit(datastore, "b")  # labelled: its confidence is of no use
    vectors = FixedVectors({"a": 5, "b": 0, "c": 20, "d": 90, "e": 10})
    reply = LeastConfident(handed, MostDifferent(handed, vectors))({"client_id": "me"}, datastore)
    assert reply["id"] == "d"
    assert "most different" in reply["reason"]


def test_confidence_is_recorded_and_never_in_the_way(datastore, handed, tmp_path, caplog):
    handed.go_on("a", "me", datastore, confidence_note(REPORT))
    note = datastore.get_image_info("a")["slmsam2"]
    assert note["confidence"] == recorded_confidence(datastore, "a") == 0.5
    assert note["version"] == "v1"
    assert note["ts"] > 1_700_000_000
    handed.go_on("a", "me", make(tmp_path / "archive", Archive), confidence_note(REPORT))
    assert "could not be noted" in caplog.text


def test_both_notes_of_an_inference_are_one_new_index(tmp_path, clock, monkeypatch):
    store, handed = make(tmp_path / "studies", FolderDatastore), HandedOut(clock)
    assert handed.take("a", "me", store)
    written, commit = [], FolderDatastore._commit
    monkeypatch.setattr(FolderDatastore, "_commit", lambda *told: written.append(1) or commit(*told))
    clock.now += RENEWED_SECONDS
    handed.go_on("a", "me", store, confidence_note(REPORT))
    assert len(written) == 1
    other = FolderDatastore(str(tmp_path / "studies"))
    assert recorded_confidence(other, "a") == 0.5
    assert HandedOut(clock).holders(["a"], other)["a"].since == clock.now


@pytest.mark.parametrize(
    "report", [{"structures": {"x": {}}}, {"structures": []}, {"structures": {"x": 1}}, 3]
)
def test_a_proposal_of_another_app(datastore, report):
    submit(datastore, "a", "original", {"params": {"report": report}})
    assert recorded_confidence(datastore, "a") is None


def test_most_different_starts_with_the_medoid_and_goes_far(datastore, handed):
    strategy = MostDifferent(handed, FixedVectors({"a": 0, "b": 10, "c": 20, "d": 90, "e": 12}))
    first = strategy({"client_id": "me"}, datastore)
    assert first["id"] == "e"  # mean distance to the others is the least
    assert "most typical" in first["reason"]
    submit(datastore, "e")
    second = strategy({"client_id": "me"}, datastore)
    assert second["id"] == "d"
    assert second["score"] == pytest.approx(2 * np.sin(np.radians(78 / 2)), abs=1e-4)
    # d is in somebody's hands: what looks like it is not wanted either
    assert ask_all(strategy, datastore, "she")[:3] == ["a", "c", "b"]


def test_images_that_cannot_be_compared_come_last(datastore, handed):
    strategy = MostDifferent(handed, FixedVectors({"b": 0, "d": 30}))
    order = ask_all(strategy, datastore, "me")
    assert set(order[:2]) == {"b", "d"}
    assert sorted(order) == IMAGES


def test_without_weights_somebody_still_gets_an_image(datastore, handed, caplog):
    reply = MostDifferent(handed, NoWeights())({"client_id": "me"}, datastore)
    assert reply["id"] in IMAGES
    assert "score" not in reply
    assert "no weights file" in caplog.text


# ---- damaged images ------------------------------------------------------------------------------------------------


def damage(path, how):
    content = path.read_bytes()
    if how == "empty":
        content = b""
    elif how == "text":
        content = b"this is not an image"
    elif how == "cut":
        content = content[: len(content) // 2]
    elif how == "cut before packing":
        content = gzip.compress(gzip.decompress(content)[:-10])
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "text", "cut", "cut before packing"])
@pytest.mark.parametrize(
    "make_strategy",
    [
        Random,
        lambda handed: LeastConfident(handed, MostDifferent(handed, NoWeights())),
        lambda handed: MostDifferent(handed, FixedVectors({"a": 0, "b": 10, "c": 90, "d": 20})),
    ],
)
def test_damaged_images_are_handed_to_nobody(datastore, handed, caplog, how, make_strategy):
    strategy = make_strategy(handed)
    damaged = [Path(datastore.get_image_uri(image)) for image in "bd"]
    for path in damaged:
        damage(path, how)
    with caplog.at_level(logging.WARNING, "slmsam2.server.sampling.damaged"):
        given = ask_all(strategy, datastore, "me")
    assert set(given) == {"a", "c", "e"}
    warned = [record for record in caplog.records if "Next Sample" in record.message]
    assert sorted(record.args[0] for record in warned) == ["b.nii.gz", "d.nii.gz"]


def test_when_only_damaged_images_are_left_there_is_none(datastore, handed):
    for image in IMAGES:
        damage(Path(datastore.get_image_uri(image)), "cut")
    assert ask(Random(handed), datastore, "me") is None


def test_an_image_that_was_mended_is_handed_out(datastore, handed):
    path = Path(datastore.get_image_uri("c"))
    whole = path.read_bytes()
    for image in IMAGES:
        damage(Path(datastore.get_image_uri(image)), "empty")
    assert ask(Random(handed), datastore, "me") is None
    path.write_bytes(whole)
    assert ask(Random(handed), datastore, "me") == "c"


def test_an_image_that_only_looks_damaged_is_handed_out(datastore, handed):
    """Packed in two parts, as some programs do: the last bytes are the length of the second."""
    for image in IMAGES:
        path = Path(datastore.get_image_uri(image))
        content = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]))
    assert set(ask_all(Random(handed), datastore, "me")) == set(IMAGES)
