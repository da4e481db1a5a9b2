"""The app in this process: its settings, its weights, its routes."""

import logging
import sys
from pathlib import Path

import pytest
import torch
from fastapi import FastAPI, HTTPException
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.utils.app import get_class_of_subclass_from_file
from server_studies import make_studies

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.modeling import build_model, save_checkpoint
from slmsam2.server.app import SlmSam2App
from slmsam2.server.configuration import Configuration, read_configuration
from slmsam2.server.models import ModelStore
from slmsam2.server.routes import NAME, install_routes

pytestmark = pytest.mark.server

APP = Path(__file__).resolve().parents[2] / "apps" / "slmsam2"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model("slm_sam2_nano")


@pytest.fixture
def studies(tmp_path):
    return make_studies(tmp_path / "studies")


def publish(folder, network, version):
    save_checkpoint(folder / "checkpoints" / "slm_sam2_nano.pt", network, version=version, trained={})


def test_main_is_found_the_way_monai_label_looks():
    path = list(sys.path)
    found = get_class_of_subclass_from_file("main", str(APP / "main.py"), "MONAILabelApp")
    assert found is SlmSam2App
    assert found.__bases__ == (MONAILabelApp,)
    assert sys.path == path  # the package was importable: nothing added


def test_settings(tmp_path):
    assert read_configuration({}) == Configuration()
    given = {"model": "slm_sam2_hiera_t", "model_dir": str(tmp_path), "device": "cpu", "preset": "bone"}
    assert read_configuration(given) == Configuration("slm_sam2_hiera_t", tmp_path, "cpu", "bone")


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"modle": "x"}, "model, model_dir, device, preset"),
        ({"model": "x"}, "slm_sam2_nano"),
        ({"model_dir": "/nowhere"}, "--conf model_dir"),
        ({"device": "toaster"}, "cpu"),
        ({"preset": "heart"}, "abdomen"),
    ],
)
def test_bad_settings(conf, says):
    with pytest.raises(ConfigurationError, match=says):
        read_configuration(conf)


def test_without_weights(studies, tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    app = SlmSam2App(str(APP), str(studies), {"model_dir": str(tmp_path / "empty")})
    assert "there is no weights file" in caplog.text
    assert "slmsam2" in app.info()["models"]
    app.datastore().save_label("phantom", str(studies / "constant.nii.gz"), "final", {})
    with pytest.raises(HTTPException) as refused:
        app.infer({"model": "slmsam2", "image": "phantom"})
    assert refused.value.status_code == 503
    assert "slm_sam2_nano" in refused.value.detail


def test_only_what_came_through_our_route_is_an_upload(studies):
    """Other ways into the app (jobs, whole-slide requests) cannot pass a file of the server."""
    app = SlmSam2App(str(APP), str(studies), {})
    path = str(studies / "phantom.nii.gz")
    for request, status in [({"image": path}, 404), ({"image": "phantom", "label": path}, 400)]:
        with pytest.raises(HTTPException) as refused:
            app.infer({"model": "slmsam2", **request})
        assert refused.value.status_code == status


def test_routes_are_put_in_front_once():
    app = FastAPI()
    app.get("/other")(lambda: None)
    install_routes(app)
    install_routes(app)
    names = [getattr(route, "name", None) for route in app.router.routes]
    assert names.count(NAME) == 1
    assert names[0] == NAME
    assert "/infer/{model}" not in app.openapi()["paths"]


def test_weights_are_loaded_once_and_again_when_they_change(tmp_path, network, caplog):
    store = ModelStore("slm_sam2_nano", tmp_path)
    with pytest.raises(CheckpointError, match="no weights file"):
        store.get("cpu")
    publish(tmp_path, network, "first")
    first = store.get("cpu")
    assert first.info["version"] == "first"
    assert store.get("cpu") is first
    publish(tmp_path, network, "the second")
    second = store.get("cpu")
    assert second.info["version"] == "the second"
    caplog.set_level(logging.WARNING)
    store.path.write_bytes(b"damaged")
    assert store.get("cpu") is second
    assert store.get("cpu") is second
    assert caplog.text.count("Still using version the second") == 1
    store.path.unlink()
    assert store.get("cpu") is second
    publish(tmp_path, network, "third")
    assert store.get("cpu").info["version"] == "third"


def test_one_inference_at_a_time_per_device(tmp_path):
    store = ModelStore("slm_sam2_nano", tmp_path)
    assert store.busy("cpu") is store.busy("cpu")
    assert store.busy("cpu") is not store.busy("cuda")
