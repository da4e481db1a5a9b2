"""Which files of a folder of studies are served, and what is said of the others."""

import shutil

import pytest
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import ORGANS, SHAPE, painted_slice, phantom, write_nifti

pytestmark = pytest.mark.server

INFO = [{"name": name, "id": ORGANS[name][0]} for name in ORGANS]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    studies = base / "studies"
    (studies / "series").mkdir(parents=True)
    write_nifti(studies / "phantom.nii.gz", phantom()[0])
    shutil.copy(studies / "phantom.nii.gz", studies / "CT.NII.GZ")
    shutil.copy(studies / "phantom.nii.gz", studies / "series")
    sitk.WriteImage(sitk.GetImageFromArray(phantom()[0].T), str(studies / "scan.mha"))
    with running_server(base, studies) as server:
        yield server


def test_what_is_not_served_is_told_once(server):
    told = [line for line in server.log.read_text().splitlines() if "are not served" in line]
    assert len(told) == 1
    assert "2 of the files and folders" in told[0]
    assert "scan.mha, series. Images are files" in told[0]
    assert ".nii.gz" in told[0]


def test_an_ending_in_capitals_is_as_good_as_any(server, tmp_path):
    (tmp_path / "client").mkdir()
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path / "client"), client_id="me")
    given = {client.next_sample("random", {})["id"] for _ in range(2)}
    assert given == {"CT", "phantom"}
    label = write_nifti(tmp_path / "label.nii.gz", painted_slice(phantom()[1], 7))
    file, reply = client.infer("slmsam2", "CT", {"label_info": INFO}, label_in=str(label))
    assert sitk.GetArrayFromImage(sitk.ReadImage(file)).T.shape == SHAPE
    assert reply["label_names"] == {"liver": 1, "spleen": 2}
    client.save_label("CT", str(label), params={"label_info": INFO})
    _, reply = client.infer("slmsam2_saved", "CT", {})
    assert reply["label_names"] == {"liver": 1, "spleen": 2}
