"""Training through a real server: started by the client or by the server, watched, stopped; the new model is used."""

import time

import pytest
import requests
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import SHAPE, painted_slice, phantom, write_nifti

from slmsam2.training.registry import Registry

pytestmark = pytest.mark.server

MODEL = "slm_sam2_nano"
NAMES = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
MINUTES = 0.05


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A server with a model folder of its own, that trains by itself after four labels."""
    base = tmp_path_factory.mktemp("trainer")
    studies = base / "studies"
    studies.mkdir()
    image, _ = phantom()
    for number in range(5):
        write_nifti(studies / f"case{number}.nii.gz", image + 3 * number)
    (base / "model").mkdir()
    options = ("--conf", "model_dir", base / "model", "--conf", "auto_train_every", "4")
    with running_server(base, studies, *options) as server:
        server.model_dir = base / "model"
        yield server


@pytest.fixture
def client(trainer, tmp_path):
    return MONAILabelClient(trainer.url, tmpdir=str(tmp_path), client_id="test")


def submit(client, folder, name, label):
    path = write_nifti(folder / f"{name}.nii.gz", label)
    client.save_label(name, str(path), tag="final", params={"label_info": NAMES})


def stats(client):
    return client.info()["train_stats"]["slmsam2"]


def wait_for(condition, what, seconds=500):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.5)
    pytest.fail(f"waited {seconds} s for {what}")


def status(trainer):
    answer = requests.get(f"{trainer.url}/train/", timeout=60)
    return answer.json() if answer.ok else {}


def test_offers_training(trainer, client):
    info = client.info()
    config = info["trainers"]["slmsam2"]["config"]
    assert config["preset"] == ["auto", "small", "fast", "full"]
    assert (
        config["minutes"] == ""
    )  # 3D Slicer sends back what is offered: a number would bound trainings on a GPU
    assert stats(client) == {}


def test_nothing_to_learn_from(trainer, client):
    requests.post(f"{trainer.url}/train/slmsam2", json={}, timeout=60).raise_for_status()
    wait_for(lambda: stats(client).get("total_time"), "a training without labels")
    assert "no submitted label" in stats(client)["message"]
    wait_for(lambda: status(trainer)["status"] == "DONE", "the end of the task")


def test_submitting_training_and_using_what_was_learnt(trainer, client, tmp_path, truth):
    for number in range(3):
        submit(client, tmp_path, f"case{number}", truth)
    started = requests.post(f"{trainer.url}/train/slmsam2", json={"minutes": MINUTES}, timeout=60)
    started.raise_for_status()
    assert (stats(client)["status"], stats(client)["epoch"]) == (
        "running",
        0,
    )  # not the end of the one before

    seen = []

    def over():
        figures = stats(client)
        seen.append((figures.get("status"), figures.get("epoch")))
        return figures.get("status") == "finished" and "eval" in figures

    wait_for(lambda: stats(client).get("status") == "running", "the start")
    refused = requests.post(f"{trainer.url}/train/slmsam2", json={}, timeout=60)
    assert refused.status_code == 429  # one at a time
    _, reply = client.infer("slmsam2", "case4", {}, label_in=str(painted(tmp_path, truth)))
    assert reply["label_names"]
    wait_for(over, "the end of the training")
    figures = stats(client)
    assert {"before", "after", "structures"} <= figures["eval"].keys()
    assert figures["eval"]["structures"].keys() == {"liver", "spleen"}
    assert figures["epoch"] == figures["total_epochs"]
    assert ("running", 0) in seen or any(epoch and epoch < 20 for _, epoch in seen)

    registry = Registry(MODEL, trainer.model_dir)
    _, reply = client.infer("slmsam2", "case4", {}, label_in=str(painted(tmp_path, truth)))
    if figures["published"]:
        assert registry.published.version == figures["version"] == reply["version"]
    else:
        assert registry.published is None
        assert reply["version"] != figures["version"]
    wait_for(lambda: status(trainer)["status"] == "DONE", "the end of the task")


def painted(folder, truth):
    return write_nifti(folder / "painted.nii.gz", painted_slice(truth, SHAPE[2] // 2))


def test_a_setting_that_cannot_be_used_is_named(trainer, client):
    before = Registry(MODEL, trainer.model_dir).count
    answer = requests.post(f"{trainer.url}/train/slmsam2", json={"preset": "quick"}, timeout=60)
    assert answer.status_code == 400
    assert "preset 'quick' is not known" in answer.text
    assert Registry(MODEL, trainer.model_dir).count == before


def test_starts_by_itself_and_can_be_stopped(trainer, client, tmp_path, truth):
    before = Registry(MODEL, trainer.model_dir).count
    for number in (0, 1, 2, 3):
        shifted = truth.copy()
        shifted[0, 0, number] = 1
        submit(client, tmp_path, f"case{number}", shifted)
    wait_for(lambda: Registry(MODEL, trainer.model_dir).count > before, "a training nobody asked for")
    requests.delete(f"{trainer.url}/train/", timeout=60).raise_for_status()
    wait_for(lambda: stats(client)["status"] == "stopped", "the word that it was stopped", seconds=30)
    _, reply = client.infer("slmsam2", "case4", {}, label_in=str(painted(tmp_path, truth)))
    assert reply["label_names"]
