"""Labels of a PACS through MONAI Label's own addresses: saved, read, replaced, refused."""

import gzip
import json
import time

import nibabel as nib
import numpy as np
import pytest
import requests
from seg_objects import labelmap, segments
from waiting import NOTED, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture
def label(mr):
    """Two boxes, values 2 and 5, on slices 3 to 5 and 40."""
    array = np.zeros(mr.array.shape, np.uint8)
    array[10:20, 12:30, 3:6] = 2
    array[30:34, 5:9, 40] = 5
    return array


def save(server, series, label, names):
    params = json.dumps({"label_info": [{"name": name, "id": value} for name, value in names.items()]})
    return requests.put(
        f"{server}/datastore/label",
        params={"image": series.uid, "tag": "final"},
        data={"params": params},
        files={"label": ("label.bin", label.tobytes(order="F"))},
        timeout=60,
    )


def saved(server, series):
    return requests.get(f"{server}/datastore/label", params={"label": series.uid, "tag": "final"}, timeout=60)


def voxels(response):
    image = nib.Nifti1Image.from_bytes(gzip.decompress(response.content))
    return np.asarray(image.dataobj)


def test_ct_and_mr_appear_and_their_labels_do_not(server, ct, mr, label):
    assert save(server, ct, np.ones(ct.array.shape, np.uint8), {"all": 1}).ok
    # others may have been there until a moment ago
    until(lambda: requests.get(f"{server}/datastore/", timeout=60).json()["total"] == 2, 3 * NOTED)


def test_the_newest_label_is_read_whole(server, pacs, mr, label):
    names = {"upper": 2, "not painted": 3, "lower": 5}
    assert save(server, mr, label, names).status_code == 200
    assert np.array_equal(voxels(saved(server, mr)), label)
    seg = pacs.segmentations(mr.uid)[-1]
    assert segments(seg) == {1: "upper", 2: "lower"}
    in_pacs = labelmap(seg, label.shape, mr.lps)
    assert np.array_equal(in_pacs, np.select([label == 2, label == 5], [1, 2]))
    label[0:4, 0:4, 60] = 2
    assert save(server, mr, label, names).status_code == 200
    assert np.array_equal(voxels(saved(server, mr)), label)


def test_a_label_that_another_program_stored_is_found(server, pacs, mr, label):
    """A later copy of the newest SEG with another name in it, put into the PACS behind the server's back."""
    assert save(server, mr, label, {"upper": 2, "lower": 5}).ok
    seg = pacs.segmentations(mr.uid)[-1]
    seg.SeriesInstanceUID += ".1"
    seg.SOPInstanceUID += ".1"
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID
    seg.ContentDate, seg.ContentTime, seg.ContentCreatorName = "20991231", "235900", "Doe^Jane"
    seg.SegmentSequence[0].SegmentLabel = "renamed"
    pacs.store_dataset(seg)
    time.sleep(11)  # the server's list is 10 s old at most
    assert np.array_equal(voxels(saved(server, mr)), labelmap(seg, label.shape, mr.lps))
    query = {"label": mr.uid, "tag": "final"}
    info = requests.get(f"{server}/datastore/label/info", params=query, timeout=60).json()
    assert [each["name"] for each in info["label_info"]] == ["renamed", "lower"]
    assert (info["creator"], info["made"]) == ("Doe Jane", "2099-12-31T23:59:00")


@pytest.mark.parametrize(
    ("size", "says"),
    [(None, "The label is empty: nothing was saved"), (7, "has 7 bytes")],
)
def test_labels_that_cannot_be_saved(server, mr, size, says):
    label = np.zeros(mr.array.shape if size is None else size, np.uint8)
    refused = save(server, mr, label, {})
    assert refused.status_code == 400
    assert says in refused.json()["detail"]


def test_what_orthanc_does_not_delete_is_said(server, mr, label):
    assert save(server, mr, label, {"upper": 2, "lower": 5}).ok
    query = {"id": mr.uid, "tag": "final"}
    refused = requests.delete(f"{server}/datastore/label", params=query, timeout=60)
    assert refused.status_code == 501
    assert "does not delete" in refused.json()["detail"]
    assert saved(server, mr).ok


def test_unknown_images_and_labels(server, mr):
    assert saved(server, type("Unknown", (), {"uid": "1.2.3"})).status_code == 404
    query = {"id": mr.uid, "tag": "never"}
    missing = requests.delete(f"{server}/datastore/label", params=query, timeout=60)
    assert missing.status_code == 404
    assert "no label of it under this tag" in missing.json()["detail"]


def test_a_search_for_one_study_is_passed_on(server, ct):
    query = {"StudyInstanceUID": ct.study}
    (study,) = requests.get(f"{server}/proxy/dicom/qido/studies", params=query, timeout=60).json()
    assert study["0020000D"]["Value"] == [ct.study]
