"""A PACS as datastore: series are whole or not there, whoever asks meanwhile and whatever ended before."""

import json
import os
import shutil
import threading
import time
import zipfile
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import requests
from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from pydicom.dataset import Dataset

import fake_pacs
from dicom_files import write_dicom, write_series
from sentences import check_sentence
from slmsam2.errors import TransferError
from slmsam2.server.datastore import pacs as pacs_module
from slmsam2.server.datastore.fetched import FetchedSeries
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.label_records import flagged_images, label_infos
from slmsam2.server.datastore.pacs import PacsDatastore
from slmsam2.server.learning.at_once import learn_from
from slmsam2.server.learning.scoring import DiceScoring
from slmsam2.server.learning.submissions import Submitted
from slmsam2.server.routes import review
from slmsam2.server.routes.answers import archive_failed
from slmsam2.server.routes.dataset import pack
from slmsam2.server.sampling.base import unlabelled_images

pytestmark = pytest.mark.unit

CT = "1.2.3.1"
SLICES = 11


@pytest.fixture
def pacs(tmp_path):
    """With one CT."""
    write_series(tmp_path / "ct", [2.0 * number for number in range(SLICES)], CT)
    with fake_pacs.running() as pacs:
        pacs.series[CT] = [file.read_bytes() for file in sorted((tmp_path / "ct").iterdir())]
        yield pacs


@pytest.fixture
def open_store(pacs, tmp_path):
    """Open a datastore of the PACS, as a server that starts does."""
    opened = []

    def open_store():
        client = DICOMwebClientX(pacs.url)
        stock = DICOMWebDatastore(client, {}, cache_path=str(tmp_path / "cache"))
        opened.append(PacsDatastore(stock, ["CT"]))
        return opened[-1]

    yield open_store
    for store in opened:
        store._observer.stop()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def files_of(store):
    """The files of a series on this machine."""
    return lambda series=CT: sorted(Path(store._datastore_path, series).glob("*.dcm"))


def test_a_change_of_a_label_is_noticed_by_its_series_alone(store, tmp_path):
    """Each server has a file of its own, written when it fetched the SEG object."""
    label = tmp_path / "label.nii.gz"
    label.write_bytes(b"label")
    store.get_image_uri(CT)
    FolderDatastore.save_label(store, CT, str(label), "final", {"SeriesInstanceUID": "1.2.4"})
    assert store.mark_of_label(CT, "final") == "1.2.4"
    label.write_bytes(b"the same, fetched by another server")
    FolderDatastore.save_label(store, CT, str(label), "final", {"SeriesInstanceUID": "1.2.4"})
    assert store.mark_of_label(CT, "final") == "1.2.4"


def slices_of(path):
    return nib.load(path).shape[2]


def hidden_folders(store):
    return [path.name for path in Path(store._datastore_path).glob(".*") if path.is_dir()]


def put_half_there(store, pacs):
    """As a server leaves a series that was killed while it wrote the slices into their own folder."""
    folder = Path(store._datastore_path, CT)
    folder.mkdir()
    for number, content in enumerate(pacs.series[CT][: SLICES // 2]):
        (folder / f"{number}.dcm").write_bytes(content)


def test_a_series_is_fetched_once(store, pacs, files_of):
    path = store.get_image_uri(CT)
    assert slices_of(path) == SLICES
    assert store.get_image_uri(CT) == path
    assert Path(path).parent == Path(store._datastore_path).resolve()
    assert len(files_of()) == SLICES
    assert pacs.retrievals() == 1


def test_ids_that_a_pacs_is_not_asked_for(store, pacs):
    for name in ("../../etc", "/etc", "..", "1.2/../..", "%2e%2e", ""):
        assert store.get_image_uri(name) == ""
    assert pacs.asked == []


def test_a_series_that_the_archive_does_not_have(store):
    with pytest.raises(LookupError):
        store.get_image_uri("1.2.3.999")
    assert hidden_folders(store) == []


def test_a_half_written_series_is_fetched_anew(store, pacs, files_of):
    put_half_there(store, pacs)
    assert slices_of(store.get_image_uri(CT)) == SLICES
    assert len(files_of()) == SLICES


def test_an_image_made_of_half_a_series_is_made_anew(open_store, pacs):
    store = open_store()
    whole, pacs.series[CT] = pacs.series[CT], pacs.series[CT][:5]
    assert slices_of(store.get_image_uri(CT)) == 5
    pacs.series[CT] = whole
    assert slices_of(open_store().get_image_uri(CT)) == SLICES


def test_an_image_older_than_its_last_slice_is_made_anew(store, files_of):
    path = store.get_image_uri(CT)
    FolderDatastore.add_image(store, CT, made_of_two_slices(Path(path)), {})
    os.utime(path, (time.time() - 60,) * 2)
    assert slices_of(store.get_image_uri(CT)) == SLICES


def made_of_two_slices(path):
    image = nib.load(path)
    target = path.parent / "labels" / "two.nii.gz"
    nib.save(image.slicer[:, :, :2], target)
    return str(target)


def test_what_the_archive_does_not_count_is_trusted(store, pacs):
    pacs.tells[CT] = None
    put_half_there(store, pacs)
    assert slices_of(store.get_image_uri(CT)) == SLICES // 2
    assert pacs.retrievals() == 0


def test_what_is_here_is_served_while_the_archive_is_away(open_store, pacs):
    path = open_store().get_image_uri(CT)
    store = open_store()
    pacs.trouble = lambda method, path: (500, b"")
    asked = len(pacs.asked)
    assert [store.get_image_uri(CT) for _ in range(3)] == [path] * 3
    assert len(pacs.asked) <= asked + 5  # one search that is tried again, not three


def test_an_archive_that_sends_half_a_series_is_refused(store, pacs):
    pacs.tells[CT] = SLICES + 3
    with pytest.raises(TransferError, match=f"sent {SLICES} of the {SLICES + 3} files"):
        store.get_image_uri(CT)
    assert hidden_folders(store) == []
    pacs.tells[CT] = SLICES
    assert slices_of(store.get_image_uri(CT)) == SLICES


def test_a_disk_that_fills_up_leaves_nothing_behind(store, monkeypatch, files_of):
    written = []

    def save_as(self, path, *args, **kwargs):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(path)
        Path(path).write_bytes(b"slice")

    with monkeypatch.context() as patch:
        patch.setattr("pydicom.dataset.Dataset.save_as", save_as)
        with pytest.raises(OSError, match="No space"):
            store.get_image_uri(CT)
    assert files_of() == []
    assert hidden_folders(store) == []
    assert slices_of(store.get_image_uri(CT)) == SLICES


def test_two_that_want_one_series_wait_for_one_download(store, pacs, files_of, monkeypatch):
    save_as = fake_pacs.Dataset.save_as
    monkeypatch.setattr("pydicom.dataset.Dataset.save_as", lambda *args: (time.sleep(0.02), save_as(*args)))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(slices_of(store.get_image_uri(CT)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert found == [SLICES] * 4
    assert pacs.retrievals() == 1


def test_what_a_killed_process_left_is_removed_at_the_start(open_store):
    store = open_store()
    left = Path(store._datastore_path, f".{CT}.arriving")
    left.mkdir()
    (left / "1.dcm").write_bytes(b"slice")
    open_store()
    assert not left.exists()


def test_what_another_process_is_fetching_is_left_to_it(open_store):
    store = open_store()
    arriving = Path(store._datastore_path, f".{CT}.arriving")
    arriving.mkdir()
    with store._fetched.alone(CT):  # another thread's or process's, seen from the one that starts
        starting = threading.Thread(target=open_store)
        starting.start()
        starting.join()
    assert arriving.exists()


def test_slices_that_came_later_are_fetched_when_the_archive_lists_them(store, pacs):
    whole, pacs.series[CT] = pacs.series[CT], pacs.series[CT][:7]
    assert slices_of(store.get_image_uri(CT)) == 7
    pacs.series[CT] = whole
    store.list_images()
    assert slices_of(store.get_image_uri(CT)) == SLICES


def test_a_labelled_image_keeps_its_grid(store, pacs, tmp_path):
    whole, pacs.series[CT] = pacs.series[CT], pacs.series[CT][:7]
    label = made_of_two_slices(Path(store.get_image_uri(CT)))
    FolderDatastore.save_label(store, CT, label, "original", {})
    pacs.series[CT] = whole
    store.list_images()
    assert slices_of(store.get_image_uri(CT)) == 7
    assert pacs.retrievals() == 1


def test_the_number_of_locks_is_bounded(tmp_path):
    fetched = FetchedSeries(DICOMwebClientX("http://127.0.0.1:9/x"), tmp_path, False)
    locks = {id(fetched.alone(f"1.2.{number}")) for number in range(1000)}
    assert 32 < len(locks) <= 64


def test_no_converted_copy_stays_in_the_folder_for_temporary_files(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    store.get_image_uri(CT)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_description_of_the_datastore_asks_the_archive_once(store, pacs):
    for _ in range(3):
        assert store.status()["total"] == 1
    assert pacs.searches() == 2  # for images and for SEG objects


def test_an_image_that_is_added_is_looked_for_at_once(store, pacs, tmp_path):
    assert store.list_images() == [CT]
    pacs.series["1.2.3.2"] = pacs.series[CT]
    assert store.list_images() == [CT]
    store.add_image("1.2.3.2", store.get_image_uri(CT), {})
    assert len(store.list_images()) == 2


@pytest.fixture
def save(store, tmp_path, monkeypatch):
    """Save a final label; gives the UID of its SEG series."""
    numbers = iter(range(1, 100))
    made = tmp_path / "made.dcm"

    def to_seg(folder, label, segments):
        assert len(list(Path(folder).glob("*.dcm"))) == SLICES
        write_seg(made, number=next(numbers))
        return str(made)

    monkeypatch.setattr(pacs_module, "nifti_to_dicom_seg", to_seg)

    def save():
        image = nib.load(store.get_image_uri(CT))
        label = np.zeros(image.shape, np.uint8)
        label[1:3, 1:3, 2] = 1
        nib.save(nib.Nifti1Image(label, image.affine), tmp_path / "label.nii.gz")
        info = {"label_info": [{"name": "liver", "id": 1}]}
        store.save_label(CT, str(tmp_path / "label.nii.gz"), "final", info)
        assert not made.exists()
        return store.get_label_info(CT, "final")["SeriesInstanceUID"]

    return save


def write_seg(path, number, date="20260101", **fields):
    """A SEG object without voxels, made later the higher its number."""
    image, segment = Dataset(), Dataset()
    image.SeriesInstanceUID = CT
    segment.SegmentNumber, segment.SegmentLabel = 1, "liver"
    write_dicom(
        path,
        np.zeros((4, 6), np.uint8),
        Modality="SEG",
        SeriesInstanceUID=f"1.2.3.7.{number}",
        ReferencedSeriesSequence=[image],
        SegmentSequence=[segment],
        ContentDate=date,
        ContentTime=f"{number:06}",
        **fields,
    )


@pytest.mark.parametrize("answer", [{}, None])
def test_a_final_label_is_stored_whatever_the_archive_says_of_it(store, pacs, save, answer):
    pacs.stored = answer
    assert save() == "1.2.3.7.1"
    assert store.get_label_info(CT, "final")["StudyInstanceUID"] == "1.2.3"
    assert [method for method, _ in pacs.asked].count("POST") == 1


def test_a_label_that_the_archive_does_not_take_is_not_saved(store, pacs, save):
    pacs.stored = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}
    with pytest.raises(TransferError, match=r"did not take the label.*0122"):
        save()
    assert FolderDatastore.get_label_uri(store, CT, "final") == ""


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "MONAI_LABEL_DICOMWEB_USERNAME"),
        (403, "403 Forbidden when it was asked to store a label"),
        (409, "409 Conflict"),
        (507, "Free some space"),
    ],
)
def test_what_the_archive_refuses_is_said(store, pacs, save, status, says):
    store.get_image_uri(CT)
    pacs.trouble = lambda method, path: (status, b"") if method == "POST" else None
    with pytest.raises(requests.HTTPError) as raised:
        save()
    answer = archive_failed(raised.value)
    assert answer.status_code == 502
    assert says in answer.detail
    assert "does not answer" not in answer.detail
    check_sentence(answer.detail)
    assert FolderDatastore.get_label_uri(store, CT, "final") == ""


@pytest.mark.parametrize("said", [None, 5, "liver", ["liver"], [{"name": "liver", "id": [1]}], [{"idx": 7}]])
def test_values_that_the_client_does_not_name_are_segments_all_the_same(said):
    label = np.array([0, 1, 3], np.uint8)
    info = pacs_module._segment_info(label, said)
    assert [(one["name"], one["id"]) for one in info] == [("structure_1", 1), ("structure_3", 3)]


def label_here(store):
    return FolderDatastore.get_label_uri(store, CT, "final")


def test_a_label_just_saved_stays_though_the_archive_lists_it_late(store, pacs, save):
    pacs.hidden.add("1.2.3.7.1")
    assert save() == "1.2.3.7.1"
    assert store.get_labels_by_image_id(CT) == {"final": CT}
    assert store.get_label_uri(CT, "final") == label_here(store) != ""
    assert store.get_labeled_images() == [CT]
    assert store.get_unlabeled_images() == []


def test_a_label_just_saved_stays_though_a_search_began_before(store, pacs, save):
    store.get_image_uri(CT)
    searching, stored = threading.Event(), threading.Event()

    def trouble(method, path):
        if "Modality=SEG" in path and not searching.is_set():
            listed = json.dumps(pacs.listed({"Modality": "SEG"})).encode()
            searching.set()
            stored.wait(10)
            return 200, listed
        return None

    pacs.trouble = trouble
    search = threading.Thread(target=store.get_labeled_images)
    search.start()
    assert searching.wait(10)
    assert save() == "1.2.3.7.1"
    stored.set()
    search.join()
    assert store.get_labels_by_image_id(CT) == {"final": CT}
    assert store.get_label_info(CT, "final")["SeriesInstanceUID"] == "1.2.3.7.1"


def test_a_label_that_the_archive_never_lists_is_trusted_for_two_minutes(store, pacs, save, monkeypatch):
    pacs.hidden.add("1.2.3.7.1")
    save()
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now + 110)
    assert store.get_labels_by_image_id(CT) == {"final": CT}
    monkeypatch.setattr("time.monotonic", lambda: now + 130)
    assert store.get_labels_by_image_id(CT) == {}


def test_a_label_that_was_listed_and_is_deleted_elsewhere_is_gone(store, pacs, save):
    save()
    assert store.get_labels_by_image_id(CT) == {"final": CT}
    del pacs.series["1.2.3.7.1"]
    store._segmentations.forget()
    assert store.get_labels_by_image_id(CT) == {}
    assert label_here(store) == ""


def test_what_is_unlabelled_can_be_told_while_a_series_is_fetched(store):
    found, held, told = [], threading.Event(), threading.Event()

    def fetch():
        with store._fetched.alone(CT):
            held.set()
            told.wait(10)

    threads = [
        threading.Thread(target=fetch),
        threading.Thread(target=lambda: found.extend(unlabelled_images({}, store))),
    ]
    threads[0].start()
    assert held.wait(10)
    threads[1].start()
    threads[1].join(5)
    waits = threads[1].is_alive()
    told.set()
    for thread in threads:
        thread.join()
    assert (found, waits) == ([CT], False)


def test_when_a_label_was_saved_is_told_whatever_the_time_zone(store, pacs, save):
    save()
    for info in (store.get_label_info(CT, "final"), store.final_info(CT)):
        assert abs(datetime.fromisoformat(info["made"]).timestamp() - time.time()) < 60


def test_a_label_just_saved_can_be_removed(store, pacs, save):
    pacs.hidden.add("1.2.3.7.1")
    save()
    store.remove_label(CT, "final")
    assert "1.2.3.7.1" not in pacs.series
    assert store.get_labels_by_image_id(CT) == {}


def test_of_two_saved_labels_the_later_counts(store, pacs, save):
    pacs.hidden.add("1.2.3.7.2")
    assert [save(), save()] == ["1.2.3.7.1", "1.2.3.7.2"]
    store.get_labels_by_image_id(CT)
    assert store.get_label_info(CT, "final")["SeriesInstanceUID"] == "1.2.3.7.2"


OTHER = "1.2.3.2"


def test_one_series_that_is_sent_by_half_leaves_the_others(store, pacs, tmp_path, caplog):
    write_series(tmp_path / "other", [2.0 * number for number in range(SLICES)], OTHER)
    pacs.series[OTHER] = [file.read_bytes() for file in sorted((tmp_path / "other").iterdir())]
    for series in (CT, OTHER):
        save_final(store, series, tmp_path)
    everything = {submission.image_id for submission in Submitted(store).all()}
    assert everything == {CT, OTHER}
    for path in Path(store._datastore_path).glob(
        f"{OTHER}*"
    ):  # here is a new machine, or a full one was cleared up
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    pacs.tells[OTHER] = SLICES + 1
    store._fetched._instances.clear()
    assert [submission.image_id for submission in Submitted(store).all()] == [CT]
    assert OTHER in caplog.text
    with zipfile.ZipFile(pack(store)) as archive:
        assert sum(CT in name for name in archive.namelist()) == 2


class Seen:
    """Learns nothing, and notes of what."""

    def __init__(self):
        self.images = []

    def to_learn(self, labelled, changed):
        return sorted(labelled)

    def learn(self, case, load):
        self.images.append(case.image_id)


def test_one_label_that_cannot_be_converted_is_no_reason_to_learn_from_no_other(
    store, pacs, tmp_path, monkeypatch, caplog
):
    write_series(tmp_path / "other", [2.0 * number for number in range(SLICES)], OTHER)
    pacs.series[OTHER] = [file.read_bytes() for file in sorted((tmp_path / "other").iterdir())]
    for series in (CT, OTHER):
        save_final(store, series, tmp_path)
    write_seg(tmp_path / "newer.dcm", number=90, date="20990101")
    pacs.series["1.2.3.7.90"] = [(tmp_path / "newer.dcm").read_bytes()]
    store._segmentations.forget()

    def convert(*_, **__):
        raise RuntimeError("Unable to open the file")

    monkeypatch.setattr(pacs_module, "dicom_to_nifti", convert)
    seen = Seen()
    with caplog.at_level("INFO"):
        learn_from(Submitted(store), [], [seen], 10**6)
    assert seen.images == [OTHER]
    assert f"the label of {CT} cannot be learnt" in caplog.text
    assert Submitted(store).count_new({}) == 1
    proposal = str(tmp_path / "label.nii.gz")
    for series in (CT, OTHER):
        FolderDatastore.save_label(store, series, proposal, "original", {})
    assert DiceScoring()({}, store) == {OTHER: 1.0}
    store.save_label(CT, proposal, "version_1", {})
    approve(store, "version_1")
    with zipfile.ZipFile(pack(store)) as archive:
        assert sum(CT in name for name in archive.namelist()) == 2


def test_an_archive_that_does_not_answer_is_not_about_one_series(store, pacs, tmp_path):
    save_final(store, CT, tmp_path)
    store._images.forget()
    pacs.trouble = lambda method, path: (503, b"")
    with pytest.raises(requests.RequestException):
        store.datalist()


def save_final(store, series, folder):
    """Save a label of one voxel, which the archive takes."""
    image = nib.load(store.get_image_uri(series))
    label = np.zeros(image.shape, np.uint8)
    label[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(label, image.affine), folder / "label.nii.gz")
    store.save_label(series, str(folder / "label.nii.gz"), "final", {})


def flag(store):
    store.update_label_info(CT, "final", {"segmentationMeta": {"status": "flagged", "comment": "again"}})


def test_a_review_is_of_the_newest_label_and_gone_with_it(store, pacs, save):
    assert store.final_info(CT) is None
    save()
    before = store.final_info(CT)["SeriesInstanceUID"]
    flag(store)
    assert flagged_images(store).keys() == {CT}
    assert Submitted(store).all() == []
    save()
    assert store.final_info(CT)["SeriesInstanceUID"] != before
    assert (flagged_images(store), len(Submitted(store).all())) == ({}, 1)


def approve(store, tag="final"):
    store.update_label_info(CT, tag, {"segmentationMeta": {"status": "approved"}})


def test_an_approved_label_is_kept_here_when_another_one_is_saved(store, pacs, save):
    save()
    approve(store)
    save()
    (kept,) = Submitted(store, only_approved=True).all()
    assert kept.label.is_file()
    assert kept.label.parent.name.startswith("final_20")
    assert kept.names == {"liver": 1}
    save()
    assert len(label_infos(store, CT)) == 2  # the PACS keeps those that were not approved


@pytest.fixture
def save_elsewhere(store, pacs, tmp_path, monkeypatch):
    """Let another server save a final label, made later than those of this one."""

    def download(segmentation, folder):
        path = tmp_path / "elsewhere.nii.gz"
        shutil.copy(label_here(store), path)
        return path

    def save_elsewhere():
        made = tmp_path / "elsewhere.dcm"
        write_seg(made, number=90, ContentCreatorName="ann")
        pacs.series["1.2.3.7.90"] = [made.read_bytes()]
        store._segmentations.forget()

    monkeypatch.setattr(store, "_download", download)
    return save_elsewhere


def test_what_another_server_saved_since_is_not_approved(store, save, save_elsewhere):
    save()
    approve(store)
    assert Submitted(store, only_approved=True).of(CT).mark == "1.2.3.7.1"
    save_elsewhere()
    found = Submitted(store, only_approved=True).of(CT)
    assert (found.label.parent.name, found.mark) != ("final", "1.2.3.7.90")


def test_what_was_saved_at_another_server_is_flagged_for_who_saved_it(store, save, save_elsewhere):
    save()
    save_elsewhere()
    flag(store)
    assert flagged_images(store)[CT].annotator == "ann"


def test_a_change_of_a_version_is_noticed(store, save, tmp_path):
    save()
    image = nib.load(store.get_image_uri(CT))
    marks = set()
    for value in (1, 2):
        label = np.full(image.shape, value, np.uint8)
        nib.save(nib.Nifti1Image(label, image.affine), tmp_path / "version.nii.gz")
        store.save_label(CT, str(tmp_path / "version.nii.gz"), "version_1", {})
        approve(store, "version_1")
        marks |= set(Submitted(store).marks().values())
    assert len(marks) == 2


def test_a_review_that_waits_for_a_label_being_saved_is_not_of_that_one(store, pacs, save, monkeypatch):
    save()
    app = SimpleNamespace(datastore=lambda: store, label_reviewed=lambda image: None)
    monkeypatch.setattr(review, "app_instance", lambda: app)
    mark = review._look(CT)["label"]["mark"]
    storing, answers = threading.Event(), []

    def trouble(method, path):
        if method == "POST":
            storing.set()
            time.sleep(1)  # in which the review comes

    def approve_it():
        try:
            answers.append(review._note(CT, {"status": "approved", "mark": mark}, None))
        except HTTPException as error:
            answers.append(error.status_code)

    pacs.trouble = trouble
    saving = threading.Thread(target=save)
    saving.start()
    assert storing.wait(10)
    approve_it()
    saving.join()
    assert answers == [409]
    assert store.final_info(CT)["SeriesInstanceUID"] == "1.2.3.7.2"
    assert "segmentationMeta" not in store.final_info(CT)


def test_what_was_deleted_elsewhere_is_not_flagged(store, pacs, save):
    save()
    flag(store)
    pacs.series.pop("1.2.3.7.1")
    store._segmentations.forget()
    assert store.final_info(CT) is None
    assert flagged_images(store) == {}
