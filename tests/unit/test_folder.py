"""The folder of studies as datastore: what is saved is there, whole, whoever saves beside it and whatever ends it."""

import errno
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from monailabel.interfaces.exception import ImageNotFoundException

from slmsam2.errors import ConfigurationError, PromptError, StorageError
from slmsam2.files import is_temporary
from slmsam2.server.datastore import folder as folder_module
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.routes.names import check_id

pytestmark = pytest.mark.unit

KILLS = int(os.environ.get("SLMSAM2_KILLS", "10"))
FINAL = "final"


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.nii.gz").write_bytes(b"image")
    return folder


@pytest.fixture
def store(studies):
    return FolderDatastore(str(studies), extensions=["*.nii.gz", "*.nii", "*.nrrd"])


@pytest.fixture
def save(store, tmp_path):
    """Save bytes as the final label of an image, as somebody."""
    numbers = iter(range(10**6))

    def save(content, who="ann", image="a", tag=FINAL, into=store):
        file = tmp_path / f"upload{next(numbers)}.nii.gz"
        file.write_bytes(content)
        return into.save_label(image, str(file), tag, {"client_id": who})

    return save


def content_of(store, image, tag=FINAL):
    return Path(store.get_label_uri(image, tag)).read_bytes()


def index_on_disk(studies):
    return json.loads((studies / "datastore_v2.json").read_text())["objects"]


def test_a_label_and_the_index_are_on_disk_before_the_answer(store, studies, save, monkeypatch):
    flushed = []
    flush = os.fsync

    def noted(descriptor):
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    save(b"label")
    assert [path.parent.name for path in flushed[:2]] == ["final", "studies"]  # the label and the index
    assert all(is_temporary(path) for path in flushed[:2])
    assert [path.name for path in flushed[2:]] == ["final", "studies"]  # the folders, once both are in place
    assert content_of(store, "a") == b"label"
    assert index_on_disk(studies)["a"]["labels"][FINAL]["info"]["client_id"] == "ann"


def test_two_people_keep_both_versions(store, studies, save):
    save(b"first", "ann")
    save(b"second", "bob")
    save(b"third", "ann")
    dated = sorted(tag for tag in store.get_labels_by_image_id("a") if tag != FINAL)
    assert len(dated) == 2
    assert all(re.fullmatch(rf"final_{time.strftime('%Y')}\d{{10}}", tag) for tag in dated)
    assert content_of(store, "a") == b"third"
    assert {content_of(store, "a", tag) for tag in dated} == {b"first", b"second"}
    assert {store.get_label_info("a", tag)["client_id"] for tag in dated} == {"ann", "bob"}
    again = FolderDatastore(str(studies))
    assert sorted(again.get_labels_by_image_id("a")) == [FINAL, *dated]
    assert again.get_labeled_images() == ["a"]
    assert len(again.datalist()) == 1  # a training takes the newest alone


@pytest.mark.parametrize(
    ("before", "now", "content", "tag", "versions"),
    [
        ("ann", "ann", b"second", FINAL, 1),  # one's own
        ("ann", "bob", b"first", FINAL, 1),  # nothing new
        ("server", "other", b"second", "original", 1),  # proposals
        ("user-xyz", "user-xyz", b"second", FINAL, 2),  # 3D Slicer's users without a name
        (None, None, b"second", FINAL, 2),
        (["ann"], ["ann"], b"second", FINAL, 2),  # that is no name
        ("ann", "bob", b"second", "checked", 2),
    ],
)
def test_which_versions_are_kept(store, save, before, now, content, tag, versions):
    save(b"first", before, tag=tag)
    save(content, now, tag=tag)
    assert len(store.get_labels_by_image_id("a")) == versions
    assert content_of(store, "a", tag) == content


def test_what_another_process_saves_is_there_at_once(store, studies, save, tmp_path):
    other = FolderDatastore(str(studies))
    save(b"label", into=other)
    assert content_of(store, "a") == b"label"
    assert store.get_unlabeled_images() == ["b"]
    other.remove_label("a", FINAL)
    assert store.get_unlabeled_images() == ["a", "b"]
    image = tmp_path / "new.nii.gz"
    image.write_bytes(b"image")
    store.add_image("c", str(image), {})
    assert other.list_images() == ["a", "b", "c"]


def test_a_damaged_index_is_said_once_and_replaced(store, studies, save, caplog):
    save(b"label")
    (studies / "datastore_v2.json").write_text("{")
    assert [store.list_images() for _ in range(3)] == [["a", "b"]] * 3
    assert caplog.text.count("is damaged") == 1
    save(b"label", image="b")
    assert sorted(index_on_disk(studies)) == ["a", "b"]


def test_processes_and_threads_that_save_at_once(studies, save):
    stores = [FolderDatastore(str(studies)) for _ in range(2)]

    def work(number):
        for step in range(5):
            save(
                b"%d %d" % (number, step),
                f"who{number}",
                "ab"[number % 2],
                f"tag{number}",
                stores[number % 2],
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index = index_on_disk(studies)
    assert {image: sorted(index[image]["labels"]) for image in "ab"} == {
        "a": ["tag0", "tag2", "tag4"],
        "b": ["tag1", "tag3", "tag5"],
    }


def test_readers_see_all_images_while_the_folder_is_looked_through(store, save):
    save(b"label")
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add((len(store.list_images()), store.get_label_uri("a", FINAL) != ""))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        store.refresh()
    done.set()
    thread.join()
    assert seen == {(2, True)}


def test_what_is_refused(store, save, studies, tmp_path):
    (studies / "labels" / "x").symlink_to(tmp_path)
    for tag in ("../x", "a/b", "", ".hidden", "x\x00"):
        with pytest.raises(PromptError, match="tag"):
            save(b"label", tag=tag)
    with pytest.raises(ImageNotFoundException):
        save(b"label", image="../a")
    with pytest.raises(PromptError, match="id"):
        store.add_image("../c", str(studies / "a.nii.gz"), {})
    (tmp_path / "outside.nii.gz").write_bytes(b"outside")
    (studies / "a.nii.gz").unlink()
    (studies / "a.nii.gz").symlink_to(tmp_path / "outside.nii.gz")
    assert store.get_image_uri("a") == ""
    with pytest.raises(ImageNotFoundException):
        store.remove_image("a")
    store.refresh()
    assert store.list_images() == ["b"]
    assert (tmp_path / "outside.nii.gz").read_bytes() == b"outside"


def in_a_child(work):
    """Run work in a forked process; its exit status."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    return child.exitcode


@pytest.mark.parametrize("full", ["label", "index"])
def test_a_full_disk_leaves_what_was_saved(store, studies, save, tmp_path, full):
    """A bound on the size of files does as a full disk does: writing fails in the middle."""
    store.update_image_info("a", {"long": "x" * (200_000 if full == "index" else 0)})
    save(b"before", "ann")
    index = (studies / "datastore_v2.json").read_bytes()

    upload = tmp_path / "upload.nii.gz"
    upload.write_bytes(b"x" * (300_000 if full == "label" else 50_000))

    def work():
        own = FolderDatastore(str(studies))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 200_000))
        with pytest.raises(StorageError, match="Free some space"):
            own.save_label("a", str(upload), FINAL, {"client_id": "bob"})
        assert own.get_label_info("a", FINAL)["client_id"] == "ann"

    assert in_a_child(work) == 0
    assert (studies / "datastore_v2.json").read_bytes() == index
    again = FolderDatastore(str(studies))
    assert content_of(again, "a") == b"before"
    assert not list(studies.rglob(".*.nii.gz.*"))


def test_what_a_full_disk_refused_to_note_is_not_known(store, studies, save, monkeypatch):
    save(b"label", "ann")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "staged", full)
        with pytest.raises(StorageError, match="as it was"):
            store.update_label_info("a", FINAL, {"segmentationMeta": {"status": "flagged"}})
        with pytest.raises(StorageError, match="as it was"):
            store.update_image_info("a", {"checked": True})
    assert "segmentationMeta" not in store.get_label_info("a", FINAL)
    assert "checked" not in store.get_image_info("a")
    save(b"label", image="b")
    assert "segmentationMeta" not in index_on_disk(studies)["a"]["labels"][FINAL]["info"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own may not be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full(small_disk, save):
    (small_disk / "a.nii.gz").write_bytes(b"image")
    store = FolderDatastore(str(small_disk))
    save(os.urandom(200_000), "ann", into=store)
    before = content_of(store, "a")
    with pytest.raises(StorageError, match="space"):
        save(os.urandom(400_000), "bob", into=store)
    assert content_of(store, "a") == before
    assert list(store.get_labels_by_image_id("a")) == [FINAL]
    save(b"small", "bob", into=store)
    assert content_of(store, "a") == b"small"


def body(number):
    """A label's content that tells which one it is, and whether it is whole."""
    return str(number).encode() + b" " + np.random.default_rng(number).bytes(100_000)


def saves_for_ever(studies, pipe, uploads):
    store, number = FolderDatastore(str(studies)), 0
    while True:
        number += 1
        upload = uploads / "upload.nii.gz"
        upload.write_bytes(body(number))
        store.save_label("ab"[number % 2], str(upload), FINAL, {"client_id": f"who{number}"})
        os.write(pipe, b"%d\n" % number)


def test_killed_at_any_moment_no_saved_label_is_lost(tmp_path, studies):
    """As many random moments as SLMSAM2_KILLS says."""
    chance = random.Random(0)
    for kill in range(KILLS):
        reading, writing = os.pipe()
        child = multiprocessing.get_context("fork").Process(
            target=saves_for_ever, args=(studies, writing, tmp_path)
        )
        child.start()
        os.close(writing)
        saved = [int(os.read(reading, 100).split()[0])]
        time.sleep(chance.uniform(0, 0.05))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        with os.fdopen(reading) as rest:
            saved += [int(line) for line in rest]
        check_all_there(studies, max(saved), kill)


def check_all_there(studies, saved, kill):
    """Every label that was answered for is listed and whole, and there is nothing half written."""
    store = FolderDatastore(str(studies))
    found = set()
    for image in "ab":
        for tag in store.get_labels_by_image_id(image):
            content = content_of(store, image, tag)
            number = int(content.split(b" ")[0])
            assert content == body(number), f"kill {kill}: {image} {tag} is not whole"
            found.add(number)
    assert set(range(1, saved + 1)) <= found, f"kill {kill}"
    assert [p.name for p in studies.rglob(".*") if p.name != ".lock"] == []
    json.loads((studies / "datastore_v2.json").read_text())


def test_another_process_changes_the_index(studies, save):
    watching = FolderDatastore(str(studies), auto_reload=True)
    try:
        save(b"label", into=FolderDatastore(str(studies)))
        end = time.monotonic() + 10
        while not watching.get_label_uri("a", FINAL) and time.monotonic() < end:
            time.sleep(0.05)
        assert content_of(watching, "a") == b"label"
    finally:
        watching._observer.stop()


def test_many_files_that_come_or_go_at_once_are_looked_for_once_or_twice(tmp_path):
    """Each look locks out those who save; a bracket in the folder's name is one."""
    studies = tmp_path / "brains [2026]"
    (studies / "more").mkdir(parents=True)
    watching = FolderDatastore(str(studies), extensions=["*.nii.gz"], auto_reload=True)
    looks, look = [], watching.refresh
    watching.refresh = lambda: (looks.append(1), look())

    def see(*images):
        end = time.monotonic() + 10
        while sorted(watching.list_images()) != sorted(images) and time.monotonic() < end:
            time.sleep(0.05)
        assert sorted(watching.list_images()) == sorted(images)
        while not watching._observer.event_queue.empty():
            time.sleep(0.05)
        time.sleep(0.1)

    try:
        names = [f"i{number}" for number in range(50)]
        with watching._lock:
            for name in names:
                (studies / f"{name}.nii.gz").write_bytes(b"image")
        see(*names)
        with watching._lock:
            for name in names[:40]:
                (studies / f"{name}.nii.gz").unlink()
        see(*names[40:])
        (studies / "i40.nii.gz").rename(studies / "more" / "i40.nii.gz")
        see(*names[41:])
        assert len(looks) <= 5
    finally:
        watching._observer.stop()


def test_a_folder_that_cannot_be_used_is_named_at_start(studies, store, monkeypatch):
    index = studies / "datastore_v2.json"
    index.write_text(index.read_text()[:100])
    with pytest.raises(ConfigurationError, match=f"{index} is damaged"):
        FolderDatastore(str(studies))
    assert index.stat().st_size == 100

    def no_lock(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", no_lock)  # root may write any folder
    with pytest.raises(ConfigurationError, match=f"{studies} cannot be written .Permission denied"):
        FolderDatastore(str(studies))


def test_what_no_request_may_name_is_not_listed(studies, store, caplog):
    """A label of it could not be saved; "._a" is what macOS writes beside a file, "a\\b" Windows' archives."""
    for name in ("._a", "a\\b", "a\nb", "%2e%2e", "50%"):
        (studies / f"{name}.nii.gz").write_bytes(b"image")
    store.refresh()
    assert sorted(store.list_images()) == ["50%", "a", "b"]
    assert sorted(store.not_served()) == ["%2e%2e.nii.gz", "a\nb.nii.gz", "a\\b.nii.gz"]
    assert "._a" not in caplog.text
    assert caplog.text.count("could be read as a path") == 3


def test_what_the_server_may_not_write_is_no_full_disk(store, save, monkeypatch):
    save(b"first")

    def forbidden(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", forbidden)
    monkeypatch.setattr(os, "unlink", forbidden)
    monkeypatch.setattr(Path, "unlink", forbidden)
    removals = (lambda: store.remove_label("a", FINAL), lambda: store.remove_image("b"))
    for change in (lambda: save(b"second"), *removals):
        with pytest.raises(
            StorageError, match=r"Permission denied\..* Let the server's user write the folder"
        ):
            change()
    monkeypatch.undo()
    assert content_of(store, "a") == b"first"
    assert store.list_images() == ["a", "b"]


def test_endings_in_capitals(studies):
    (studies / "C.NII.GZ").write_bytes(b"image")
    (studies / "d.Nrrd").write_bytes(b"image")
    store = FolderDatastore(str(studies), extensions=("*.nii.gz", "*.nii", "*.nrrd"))
    assert sorted(store.list_images()) == ["C", "a", "b", "d"]
    assert Path(store.get_image_uri("C")).name == "C.NII.GZ"
    assert store.not_served() == []


def test_what_is_saved_with_another_ending_takes_the_place_of_the_old_file(store, studies, save, tmp_path):
    """And what is deleted then stays so; an earlier label of somebody else is kept, and what only looks alike."""
    (studies / "a.2.nii.gz").write_bytes(b"image")
    store.refresh()
    save(b"of another image", image="a.2")
    save(b"first")
    upload = tmp_path / "upload.nrrd"
    upload.write_bytes(b"second")
    store.save_label("a", str(upload), FINAL, {"client_id": "bob"})
    (kept,) = store.get_labels_by_image_id("a").keys() - {FINAL}
    assert sorted(os.listdir(studies / "labels" / FINAL)) == ["a.2.nii.gz", "a.nrrd"]
    store.remove_label("a", FINAL)
    assert store.get_labels_by_image_id("a").keys() == {kept}
    assert content_of(store, "a", kept) == b"first"
    assert content_of(store, "a.2") == b"of another image"
    before = store.get_image_uri("a")
    store.add_image("a", str(upload), {})
    assert not Path(before).exists()
    assert Path(store.get_image_uri("a")).read_bytes() == b"second"


def test_a_label_that_was_left_beside_another_goes_with_it(store, studies, save):
    """By an older release, or a kill between the two."""
    save(b"label")
    (studies / "labels" / FINAL / "a.nrrd").write_bytes(b"older")
    store.remove_label("a", FINAL)
    assert store.get_labels_by_image_id("a") == {}


def test_by_what_a_change_of_a_label_is_noticed(store, studies, save):
    """Saved again, renamed, edited on disk; all servers of the folder find the same."""
    assert store.mark_of_label("a", FINAL) == ""
    marks = []
    for change in (
        lambda: save(b"first"),
        lambda: save(b"other"),
        lambda: store.update_label_info("a", FINAL, {"label_info": [{"name": "liver", "idx": 1}]}),
        lambda: Path(store.get_label_uri("a", FINAL)).write_bytes(b"edited"),
    ):
        change()
        marks.append(store.mark_of_label("a", FINAL))
        assert FolderDatastore(str(studies)).mark_of_label("a", FINAL) == marks[-1]
    store.update_image_info("a", {"correction": {"dice": 1.0}})
    assert store.mark_of_label("a", FINAL) == marks[-1]
    assert len({"", *marks}) == 5
    Path(store.get_label_uri("a", FINAL)).unlink()
    assert store.mark_of_label("a", FINAL) == ""


def test_what_is_not_served(studies, save, store):
    save(b"label")
    assert store.not_served() == []
    for name in ("scan.mha", "notes.txt", ".hidden.mha"):
        (studies / name).write_bytes(b"")
    (studies / "more").mkdir()
    (studies / "more" / "c.nii.gz").write_bytes(b"image")
    assert FolderDatastore(str(studies)).not_served() == ["more", "notes.txt", "scan.mha"]


# ---- backup --------------------------------------------------------------------------------------------------------


def restored(studies, backup):
    """The datastore of a folder into which a backup of index and labels was put back."""
    folder = backup.with_name(f"{backup.name}-restored")
    shutil.copytree(backup, folder)
    for image in studies.glob("*.nii.gz"):
        shutil.copy(image, folder)
    return FolderDatastore(str(folder))


@pytest.mark.skipif(not shutil.which("flock"), reason="there is no flock here")
def test_a_backup_under_the_lock_has_each_label_with_its_own_names(store, studies, tmp_path):
    """As docs/deployment.md says, while others save."""
    numbers, done = iter(range(10**6)), threading.Event()

    def work(image):
        other = FolderDatastore(str(studies))
        while not done.is_set():
            number = str(next(numbers))
            file = tmp_path / f"upload{image}.nii.gz"
            file.write_text(number)
            other.save_label(image, str(file), FINAL, {"client_id": number, "label_info": number})

    threads = [threading.Thread(target=work, args=(image,)) for image in "ab"]
    for thread in threads:
        thread.start()
    try:
        for number in range(8):
            backup = tmp_path / f"backup{number}"
            backup.mkdir()
            time.sleep(0.05)
            command = ["flock", ".lock", "cp", "-a", "labels", "datastore_v2.json", str(backup)]
            subprocess.run(command, cwd=studies, check=True)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    seen = 0
    for number in range(8):
        again = restored(studies, tmp_path / f"backup{number}")
        for image in again.list_images():
            for tag in again.get_labels_by_image_id(image):
                info = again.get_label_info(image, tag)
                assert content_of(again, image, tag).decode() == info["label_info"] == info["client_id"]
                seen += 1
    assert seen > 16


@pytest.mark.parametrize(("first", "left"), [("labels", {}), ("datastore_v2.json", {FINAL: None})])
def test_without_the_lock_a_label_saved_in_between_is_left_out_or_loses_its_names(
    store, studies, save, tmp_path, first, left
):
    backup = tmp_path / "backup"
    backup.mkdir()
    store.refresh()
    parts = ["labels", "datastore_v2.json"]
    for part in sorted(parts, key=lambda part: part != first):
        subprocess.run(["cp", "-a", str(studies / part), str(backup)], check=True)
        if part == first:
            save(b"label")
    again = restored(studies, backup)
    tags = again.get_labels_by_image_id("a")
    assert {tag: again.get_label_info("a", tag).get("client_id") for tag in tags} == left


@pytest.mark.parametrize("image", ["图" * 78, "a" * 248])
def test_an_image_whose_name_takes_all_the_bytes_there_are(studies, save, image):
    (studies / f"{image}.nii.gz").write_bytes(b"image")
    assert check_id(image) == image
    store = FolderDatastore(str(studies))
    save(b"label", image=image, into=store)
    assert Path(store.get_label_uri(image, FINAL)).read_bytes() == b"label"
    save(b"of another person", who="bob", image=image, into=store)
    assert len(store.get_labels_by_image_id(image)) == 2


@pytest.mark.parametrize("image", ["图" * 83, "a" * 249])
def test_a_name_that_is_too_long_is_said_to_be(image):
    with pytest.raises(PromptError, match="at most 248 bytes"):
        check_id(image)
