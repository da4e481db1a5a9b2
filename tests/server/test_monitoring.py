"""Health, metrics, and what a server does that is asked for too much."""

import gzip
import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from server_process import running_server
from server_studies import make_studies, painted_slice, phantom, write_nifti

pytestmark = pytest.mark.server

LONG = (64, 60, 60)  # of the study "long"
LONGER = (64, 60, 240)  # of one that no other test asks about


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server that lets one inference wait, and takes requests of 1 MB and volumes of a million voxels."""
    base = tmp_path_factory.mktemp("small")
    studies = make_studies(base / "studies")
    write_nifti(studies / "large.nii.gz", np.zeros((110, 100, 100), np.uint8))
    write_nifti(studies / "longer.nii.gz", phantom(LONGER)[0])
    limits = {"most_waiting": 1, "most_megabytes": 1, "most_megavoxels": 1}
    options = [text for name, value in limits.items() for text in ("--conf", name, value)]
    with running_server(base, studies, *options) as server:
        yield server


def every_fourth_slice(shape, folder):
    """A label file's bytes: so that all slices are visited."""
    label = phantom(shape)[1]
    label[:, :, np.arange(shape[2]) % 4 > 0] = 0
    return write_nifti(folder / "label.nii.gz", label).read_bytes()


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    return every_fourth_slice(LONG, tmp_path_factory.mktemp("painted"))


def infer(server, label, image="long", **params):
    files = {"label": ("label.nii.gz", label)}
    address = f"{server.url}/infer/slmsam2?image={image}"
    return requests.post(address, files=files, data={"params": json.dumps(params)}, timeout=300)


def metrics(server):
    """(name, labels...) -> value."""
    text = requests.get(f"{server.url}/slmsam2/metrics", timeout=10).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_health(small):
    answer = requests.get(f"{small.url}/slmsam2/health", timeout=10)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_metrics(small, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted_slice(phantom()[1], 7)).read_bytes()
    assert infer(small, label, "phantom").status_code == 200
    assert infer(small, b"nonsense", "phantom").status_code == 400
    told = metrics(small)
    assert told["slmsam2_answers_total", "slmsam2", "200"] == 1
    assert told["slmsam2_answers_total", "slmsam2", "400"] == 1
    assert told["slmsam2_inference_seconds_count", "slmsam2", "total"] == 1
    assert told["slmsam2_inference_seconds_sum", "slmsam2", "total"] > 0.01
    assert told["slmsam2_inferences",] == 0
    assert told["slmsam2_kept_bytes", "features"] > 0
    assert told["process_resident_memory_bytes",] > 1e8
    version = requests.get(f"{small.url}/info/", timeout=10).json()["models"]["slmsam2"]["network"]["version"]
    assert told["slmsam2_model", "slm_sam2_nano", version] == 1
    assert requests.post(f"{small.url}/infer/slmsam2_x?image=phantom", timeout=10).status_code == 404
    assert metrics(small)["slmsam2_answers_total", "other", "404"] == 1


def test_too_many_at_once(small, painted):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(infer(small, painted))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 3
    for answer in refused:
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["detail"].endswith(" s.")
    assert infer(small, painted).status_code == 200


def test_a_client_that_goes_away_cancels_its_work(small, tmp_path):
    """Both the one under way and the one that waits."""
    painted = every_fourth_slice(LONGER, tmp_path)
    request = requests.Request(
        "POST", f"{small.url}/infer/slmsam2?image=longer", files={"label": ("x.nii.gz", painted)}
    )
    prepared = request.prepare()
    connections = [http.client.HTTPConnection(urlsplit(small.url).netloc) for _ in range(2)]
    for connection in connections:
        connection.request("POST", prepared.path_url, prepared.body, dict(prepared.headers))
    wait_for(lambda: metrics(small)["slmsam2_inferences",] == 2)
    for connection in connections:
        connection.close()
    wait_for(lambda: metrics(small)["slmsam2_inferences",] == 0, 10)
    assert metrics(small)["slmsam2_answers_total", "slmsam2", "409"] == 2
    assert small.left_behind() == []


def test_a_request_that_takes_too_long(small, tmp_path):
    """At work and in line: each is told so, its place is free, and what others asked for goes on."""
    painted = every_fourth_slice(LONGER, tmp_path)
    answers = {}

    def ask(name, **params):
        answers[name] = infer(small, painted, "longer", **params)

    def at_work():
        return requests.get(f"{small.url}/slmsam2/progress/first", timeout=10).json().get("done", 0) > 0

    first = threading.Thread(target=ask, args=("at work",), kwargs={"most_seconds": 6, "request_id": "first"})
    first.start()
    wait_for(at_work)
    ask("in line", most_seconds=0.5)
    assert first.is_alive()
    first.join()
    assert [answer.status_code for answer in answers.values()] == [504, 504]
    assert "after 0.5 s, all of them waiting" in answers["in line"].json()["detail"]
    assert "after 6 s, 0 of them waiting" in answers["at work"].json()["detail"]
    told = metrics(small)
    assert (told["slmsam2_inferences",], told["slmsam2_answers_total", "slmsam2", "504"]) == (0, 2)
    ask("patient")
    assert answers["patient"].status_code == 200
    assert small.left_behind() == []


def test_large_requests_and_volumes(small, painted):
    answer = requests.put(
        f"{small.url}/datastore/image", files={"file": ("x.nii.gz", bytes(1_100_000))}, timeout=30
    )
    assert answer.status_code == 413
    assert "most_megabytes" in answer.json()["detail"]
    answer = infer(small, painted, "large")
    assert answer.status_code == 413
    assert "most_megavoxels" in answer.json()["detail"]
    large = gzip.compress(nib.Nifti1Image(np.zeros((128, 128, 64), np.uint8), np.eye(4)).to_bytes())
    for path, field in (("image?image=x", "file"), ("label?image=large", "label")):
        answer = requests.put(f"{small.url}/datastore/{path}", files={field: ("x.nii.gz", large)}, timeout=30)
        assert answer.status_code == 413
        assert "most_megavoxels" in answer.json()["detail"]
    stored = requests.get(f"{small.url}/datastore/?output=all", timeout=30).json()["objects"]
    assert "x" not in stored
    assert not stored["large"]["labels"]
