"""Clicks in 3D Slicer on a structure whose shape is known from a label that somebody else has submitted."""

import time

import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import phantom, write_nifti
from slicer_module import smart_edit

pytestmark = pytest.mark.server

LIVER = (14, 18)  # of its middle, in pixels
SECONDS = 60


@pytest.fixture
def slicer(tmp_path):
    (tmp_path / "studies").mkdir()
    for name in ("phantom", "submitted"):
        write_nifti(tmp_path / "studies" / f"{name}.nii.gz", phantom()[0])
    with running_server(tmp_path, tmp_path / "studies") as server:
        client = MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="ann")
        label = write_nifti(tmp_path / "label.nii.gz", phantom()[1])
        info = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
        client.save_label("submitted", str(label), params={"label_info": info})
        end = time.monotonic() + SECONDS
        while requests.get(f"{server.url}/info/", timeout=30).json()["shapes"] != {"liver": 1, "spleen": 1}:
            assert time.monotonic() < end
            time.sleep(0.2)
        yield client


def test_a_click_that_is_deleted_leaves_nothing_behind(slicer):
    first, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]])
    assert reply["report"]["shapes"] == ["liver"]
    second, _ = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], [[*LIVER, 9]])
    assert not np.array_equal(second, first)
    third, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]])
    assert reply["report"]["structures"]["liver"]["redone"] == []
    np.testing.assert_array_equal(third, first)
