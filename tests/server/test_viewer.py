"""OHIF's files as the server sends them, and following an inference."""

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from server_studies import painted_slice, phantom, refused, write_nifti

from slmsam2.volume import read_label

pytestmark = pytest.mark.server

MODULES = Path(__file__).resolve().parents[2] / "apps" / "slmsam2" / "ohif"
SHAPE = (64, 60, 60)  # of the study "long"


def test_the_viewer_loads_our_extension(server):
    answer = requests.get(f"{server.url}/ohif/app-config.js", timeout=10)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    assert "routerBasename: '/ohif/'" in answer.text  # MONAI Label's own comes first
    assert answer.text.index("window.config = ") < answer.text.index("window.config.extensions.push")
    assert "/slmsam2/ohif/extension.js" in answer.text
    assert "<html" in requests.get(f"{server.url}/ohif/", timeout=10).text


def test_every_module_is_sent_as_it_is(server):
    modules = sorted(MODULES.glob("*.js"))
    assert len(modules) > 20
    for module in modules:
        answer = requests.get(f"{server.url}/slmsam2/ohif/{module.name}", timeout=10)
        assert answer.headers["content-type"].startswith("text/javascript")
        assert answer.content == module.read_bytes()


@pytest.mark.parametrize("name", ["package.json", "missing.js", "..%2Fmain.py", "%2e%2e%2f%2e%2e%2fx.js"])
def test_nothing_else_is_sent(server, name):
    assert requests.get(f"{server.url}/slmsam2/ohif/{name}", timeout=10).status_code == 404


def test_info_names_the_weights(client):
    network = client.info()["models"]["slmsam2"]["network"]
    assert network["name"] == "slm_sam2_nano"
    assert network["version"]
    assert network["trained"] == "synthetic volumes only"


def bytes_of_kept_images(server):
    metrics = requests.get(f"{server.url}/slmsam2/metrics", timeout=10).text
    return float(re.search(r'slmsam2_kept_bytes{what="images"} (\S+)', metrics)[1])


def test_an_image_that_is_opened_is_read_before_anything_is_asked_of_it(server, client, tmp_path):
    image = phantom(SHAPE)[0]
    client.upload_image(write_nifti(tmp_path / "looked_at.nii.gz", image), "looked_at")
    before = bytes_of_kept_images(server)
    assert requests.post(f"{server.url}/slmsam2/opened/looked_at", timeout=10).json() == {}
    end = time.monotonic() + 60
    while bytes_of_kept_images(server) < before + image.size:
        assert time.monotonic() < end
        time.sleep(0.1)
    refused = requests.post(f"{server.url}/slmsam2/opened/nobody", timeout=10)
    assert refused.status_code == 404
    assert "There is no image 'nobody' on this server." in refused.json()["detail"]


def progress(server, request_id):
    return requests.get(f"{server.url}/slmsam2/progress/{request_id}", timeout=10)


def test_follow_and_cancel(server, client, tmp_path):
    label = phantom(SHAPE)[1]
    label[:, :, 1::4] = 0  # much to do
    file = write_nifti(tmp_path / "label.nii.gz", label)
    assert progress(server, "mine").status_code == 404
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(refused(client, "long", {"request_id": "mine"}, label_in=str(file)))
    )
    thread.start()
    seen = []
    end = time.monotonic() + 120
    while time.monotonic() < end and not (seen and seen[-1]["done"] > 0):
        found = progress(server, "mine")
        if found.ok:
            seen.append(found.json())
        time.sleep(0.05)
    assert 0 < seen[-1]["done"] <= seen[-1]["total"]
    assert requests.delete(f"{server.url}/slmsam2/progress/mine", timeout=10).json()["cancelled"]
    thread.join(120)
    assert answers == [(409, "This propagation was cancelled. Nothing has changed.")]
    assert progress(server, "mine").status_code == 404
    assert server.left_behind() == []


def test_the_next_inference_after_a_cancelled_one(server, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted_slice(phantom()[1], 7))
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    _, reply = client.infer("slmsam2", "phantom", {"request_id": "other"}, label_in=str(label))
    assert reply["report"]
    assert progress(server, "other").status_code == 404


def test_points_correct_the_slice_that_comes_with_them(client, tmp_path):
    """As our panel asks: what the server remembers of an earlier propagation does not count."""
    truth = phantom()[1]
    names = [{"name": "liver", "id": 1}]
    painted = write_nifti(tmp_path / "label.nii.gz", (painted_slice(truth, 7) == 1).astype(np.uint8))
    client.infer("slmsam2", "phantom", {"label_info": names}, label_in=str(painted))
    shown = np.zeros_like(truth)
    shown[:, :, 5] = truth[:, :, 5] == 1
    shown[2:6, 30:34, 5] = 1  # a piece that nobody but its painter knows of
    (tmp_path / "label.bin").write_bytes(shown.astype(np.uint8).tobytes(order="F"))
    i, j = map(int, np.argwhere(truth[:, :, 5] == 1)[0])
    params = {"foreground": [], "background": [[i, j, 5]], "slice": 5, "axis": "2", "label": "liver"}
    params |= {"label_info": names, "prompt_slices": [5], "result_extension": ".nii"}
    file, _ = client.infer("slmsam2_slice", "phantom", params, label_in=str(tmp_path / "label.bin"))
    drawn = read_label(file).array
    assert np.unique(np.nonzero(drawn)[2]).tolist() == [5]
    assert drawn[i, j, 5] == 0
    assert drawn[2:6, 30:34, 5].all()
