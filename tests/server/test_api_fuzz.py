"""Requests made up from the API's description: no 5xx. ``scripts/fuzz_api.py`` sends more of them."""

import json
import shutil

import pytest
import requests
from api_fuzz import fuzz, make_fuzz_studies
from server_process import running_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    base = tmp_path_factory.mktemp("fuzzed")
    (base / "model").mkdir()
    studies = make_fuzz_studies(base / "studies")
    with running_server(base, studies, "--conf", "model_dir", base / "model") as server:
        yield server


def ask(server, method, path, **arguments):
    return requests.request(method, server.url + path, timeout=60, **arguments)


def test_batch_inference_on_the_devices_there_are(fuzzed):
    """MONAI Label's own asks for all GPUs unless told otherwise, and fails where there is none."""
    query = "/batch/infer/slmsam2_saved?run_sync=true"
    answer = ask(fuzzed, "POST", query, json={"images": ["saved"], "label_tag": "fuzzed"})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"saved"}
    assert "fuzzed" in ask(fuzzed, "GET", "/datastore/?output=all").json()["objects"]["saved"]["labels"]


def test_no_5xx(fuzzed):
    findings = fuzz(fuzzed.url, examples=300, number=0)
    assert dict(findings.failures) == {}
    assert findings.requests > 250
    served = [route for route, counts in findings.statuses.items() if counts[200]]
    assert {"POST /infer/{model}", "PUT /datastore/label", "GET /datastore/label", "PUT /session/"} <= set(
        served
    )
    assert requests.get(f"{fuzzed.url}/datastore/?output=all", timeout=10).status_code == 200


@pytest.mark.parametrize("kind", ["train/{}", "scoring/{}", "batch/infer/{}"])
def test_jobs_that_cannot_be_done(fuzzed, kind):
    """Found by made-up requests: each was answered with 500, or its job was lost without a word."""
    assert ask(fuzzed, "POST", f"/{kind.format('nobody')}?run_sync=true").status_code == 404
    known = kind.format("dice" if "scoring" in kind else "slmsam2")
    for params in (
        {"gpus": 5},
        {"label_tag": "../x"},
        {"max_workers": -1},
        {"images": [1]},
        {"x": "y" * 99_999},
    ):
        answer = ask(fuzzed, "POST", f"/{known}", json=params)
        assert answer.status_code == 400, params
        assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize("path", ["/train/slmsam2", "/train/slmsam2?run_sync=true", "/train/"])
def test_a_training_with_settings_that_cannot_be_used_is_not_begun(fuzzed, path):
    settings = {"minutes": -1}
    answer = ask(fuzzed, "POST", path, json={"slmsam2": settings} if path == "/train/" else settings)
    assert (answer.status_code, answer.json()["detail"]) == (400, "minutes must be a number above 0, not -1.")
    answer = ask(fuzzed, "POST", "/train/slmsam2", json={"preset": "huge"})
    assert (answer.status_code, "huge" in answer.json()["detail"]) == (400, True)


def test_settings_of_a_training_are_asked_of_no_other_job(fuzzed):
    """An inference's preset is a window."""
    params = {"preset": "lung", "minutes": -1, "images": ["no_such_image"]}
    answer = ask(fuzzed, "POST", "/batch/infer/slmsam2?run_sync=true", json=params)
    assert "minutes" not in answer.text
    assert "auto, small" not in answer.text


def test_a_training_that_is_waited_for(fuzzed):
    """In the server's own process: its refusal is the answer."""
    answer = ask(fuzzed, "POST", "/train/slmsam2?run_sync=true", json={"device": "abacus"})
    assert answer.status_code == 400
    assert "abacus" in answer.json()["detail"]


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 5000])
def test_json_that_could_never_be_sent_back(fuzzed, text):
    """Kept with an image it would have broken the list of images for everybody."""
    for path, name in (("/image/info?image=phantom", "info"), ("/label/info?label=saved&tag=final", "info")):
        assert ask(fuzzed, "PUT", f"/datastore{path}", data={name: text}).status_code == 400
    answer = ask(fuzzed, "POST", "/infer/slmsam2?image=phantom", data={"params": text})
    assert answer.status_code == 400
    body = {"data": text, "headers": {"Content-Type": "application/json"}}
    assert 400 <= ask(fuzzed, "POST", "/activelearning/random", **body).status_code < 500
    listed = ask(fuzzed, "GET", "/datastore/?output=all")
    assert json.loads(listed.text)["objects"].keys() >= {"phantom", "saved"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/logs/gpu", 404),
        ("GET", "/logs/?lines=9999999999999999999999", 200),
        ("GET", "/proxy/dicom/studies", 404),
        ("POST", "/infer/wsi_v2/slmsam2", 400),
        ("POST", "/infer/slmsam2?image=phantom&output=dicom_seg", 400),
    ],
)
def test_what_was_answered_with_500(fuzzed, method, path, status):
    if path == "/logs/gpu" and shutil.which("nvidia-smi"):
        status = 200
    assert ask(fuzzed, method, path).status_code == status
