"""A server that is asked to stop, as systemd and Docker do it: what was noted by then is kept."""

import json
import subprocess

import numpy as np
import pytest
import requests
from filelock import FileLock
from server_process import running_server
from server_studies import SHAPE, painted_slice, phantom, write_nifti

pytestmark = pytest.mark.server


def test_an_answer_does_not_wait_for_its_notes_but_a_server_that_stops_does(tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    image, truth = phantom()
    write_nifti(studies / "ct.nii.gz", image)
    label = write_nifti(tmp_path / "label.nii.gz", painted_slice(truth, SHAPE[2] // 2).astype(np.uint8))
    with running_server(tmp_path, studies) as server:
        with FileLock(studies / ".lock"):  # somebody else is changing the folder
            with label.open("rb") as stream:
                answer = requests.post(
                    f"{server.url}/infer/slmsam2?image=ct&output=image",
                    files={"label": (label.name, stream)},
                    data={"params": "{}"},
                    timeout=60,
                )
            assert answer.status_code == 200
            assert len(answer.content) > 100
            assert "slmsam2" not in info_on_disk(studies)
            server.process.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(2)
        server.process.wait(30)
    assert info_on_disk(studies)["slmsam2"]["confidence"] > 0


def info_on_disk(studies):
    return json.loads((studies / "datastore_v2.json").read_text())["objects"]["ct"]["image"]["info"]
