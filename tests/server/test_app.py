"""The app in this process: its settings, its weights, its routes."""

import logging
import math
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from fastapi import FastAPI, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.utils.app import get_class_of_subclass_from_file
from server_studies import make_studies, painted_slice, phantom, write_nifti

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.modeling import build_model, save_checkpoint
from slmsam2.server import infer as infer_room
from slmsam2.server.app import SlmSam2App
from slmsam2.server.configuration import Configuration, read_configuration
from slmsam2.server.routes.inference import INFER, INFO, SAMPLE, install_routes
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.line import line
from slmsam2.server.running.models import ModelStore
from slmsam2.training.registry import Registry, Version

pytestmark = pytest.mark.server
NAMES = (INFER, SAMPLE, INFO)

OWN = "own"
APP = Path(__file__).resolve().parents[2] / "apps" / "slmsam2"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model("slm_sam2_nano")


@pytest.fixture
def studies(tmp_path):
    return make_studies(tmp_path / "studies")


@pytest.fixture
def model_dir(tmp_path):
    """A model folder with a model of its own, without weights."""
    folder = tmp_path / "model"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / f"{OWN}.yaml").write_text("base: [slm_sam2_nano]")
    return folder


def publish(folder, network, version):
    save_checkpoint(folder / "checkpoints" / f"{OWN}.pt", network, version=version, trained={})


def learn(folder, network, version):
    """Put a learnt version into use."""
    registry = Registry(OWN, folder)
    save_checkpoint(registry.path(version), network, version=version, trained={})
    registry.publish(Version(version, None, 0.0, {}, []))


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
    pages = {"origins": "https://Viewer.example.org/, http://10.0.0.1:3000"}
    assert read_configuration(pages).origins == ("https://viewer.example.org", "http://10.0.0.1:3000")
    names = {"hosts": "Label.example.org, gpu1.example.org"}
    assert read_configuration(names).hosts == ("label.example.org", "gpu1.example.org")
    assert read_configuration({"modalities": "ct, us"}).modalities == ("CT", "US")
    assert read_configuration({"labels": "liver, left kidney,"}).labels == ("liver", "left kidney")
    assert read_configuration({"looks": "False"}).looks is False


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        (
            {"modle": "x"},
            "model, model_dir, device, preset, speed, threads, auto_train_every, only_approved, looks, "
            "most_megabytes, most_megavoxels, most_kept_megabytes, most_waiting",
        ),
        ({"model": "x"}, "slm_sam2_nano"),
        ({"model_dir": "/nowhere"}, "--conf model_dir"),
        ({"device": "toaster"}, "cpu"),
        ({"preset": "heart"}, "abdomen"),
        ({"auto_train_every": "often"}, "auto_train_every must be a number"),
        ({"looks": "maybe"}, "true or false"),
        ({"most_megabytes": "0"}, "1 or more"),
        ({"most_seconds": "long"}, "most_seconds must be a number"),
        ({"modalities": "CT;MR"}, "CT,MR"),
        ({"labels": ","}, "liver,spleen"),
        ({"labels": "liver,liver"}, "each once"),
        ({"origins": "*"}, "https://viewer.example.org"),
        ({"hosts": "https://label.example.org"}, "names such as label.example.org"),
        ({"hosts": ".example.org"}, "names such as label.example.org"),
    ],
)
def test_bad_settings(conf, says):
    with pytest.raises(ConfigurationError, match=says):
        read_configuration(conf)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_not_replaced_by_the_processor(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=f"--conf device {device}: there is no GPU.*PrivateDevices"):
        read_configuration({"device": device})
    assert resolve_device(device) == "cpu"  # what a client asks for is


def test_without_weights(studies, model_dir, caplog):
    app = SlmSam2App(str(APP), str(studies), {"model_dir": str(model_dir), "model": OWN})
    assert "there is no weights file" in caplog.text
    assert "slmsam2" in app.info()["models"]
    app.datastore().save_label("phantom", str(studies / "constant.nii.gz"), "final", {})
    with pytest.raises(HTTPException) as refused:
        app.infer({"model": "slmsam2", "image": "phantom"})
    assert refused.value.status_code == 503
    assert f"{OWN}.pt" in refused.value.detail


def test_a_model_folder_without_weights_takes_those_of_the_repository(tmp_path):
    assert ModelStore("slm_sam2_nano", tmp_path).get("cpu").info["model"] == "slm_sam2_nano"


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
    install_routes(app, 10**9)
    install_routes(app, 10**9)
    names = [getattr(route, "name", None) for route in app.router.routes]
    assert sorted(names[: len(NAMES)]) == sorted(NAMES)
    assert not set(names[len(NAMES) :]) & set(NAMES)
    assert not {"/infer/{model}", "/activelearning/{strategy}"} & set(app.openapi()["paths"])


def test_our_routes_check_access_as_monai_labels_do():
    app = FastAPI()
    install_routes(app, 10**9)
    for route in app.router.routes[: len(NAMES)]:
        checks = [part.call for part in route.dependant.dependencies if isinstance(part.call, RBAC)]
        assert [check.roles for check in checks] == [settings.MONAI_LABEL_AUTH_ROLE_USER]


def test_weights_are_loaded_once_and_again_when_they_change(model_dir, network, caplog):
    store = ModelStore(OWN, model_dir)
    with pytest.raises(CheckpointError, match="no weights file"):
        store.get("cpu")
    publish(model_dir, network, "first")
    first = store.get("cpu")
    assert first.info["version"] == "first"
    assert store.get("cpu") is first
    publish(model_dir, network, "the second")
    second = store.get("cpu")
    assert second.info["version"] == "the second"
    caplog.set_level(logging.WARNING)
    store.path.write_bytes(b"damaged")
    assert store.get("cpu") is second
    assert store.get("cpu") is second
    assert caplog.text.count("Still using version the second") == 1
    store.path.unlink()
    assert store.get("cpu") is second
    publish(model_dir, network, "third")
    assert store.get("cpu").info["version"] == "third"


def test_it_is_told_when_other_weights_are_in_use(model_dir, network):
    store, told = ModelStore(OWN, model_dir), []
    store.on_change = lambda: told.append(store._held["cpu", "quality"].network.info["version"])
    publish(model_dir, network, "first")
    store.get("cpu")
    assert told == []
    learn(model_dir, network, "learned-1")
    store.get("cpu")
    store.get("cpu")
    assert len(told) == 1
    store.path.resolve().write_bytes(b"damaged")
    store.get("cpu")
    assert len(told) == 1
    Registry(OWN, model_dir).use(None)
    store.get("cpu")
    assert len(told) == 2


def test_learnt_weights_come_into_use_and_damaged_ones_do_not(model_dir, network, caplog):
    publish(model_dir, network, "start")
    store = ModelStore(OWN, model_dir)
    assert store.get("cpu").info["version"] == "start"
    learn(model_dir, network, "learned-1")
    assert store.get("cpu").info["version"] == "learned-1"
    learn(model_dir, network, "learned-2")
    store.path.resolve().write_bytes(b"damaged")
    caplog.set_level(logging.WARNING)
    assert store.get("cpu").info["version"] == "learned-1"
    assert "Still using version learned-1" in caplog.text
    assert ModelStore(OWN, model_dir).get("cpu").info["version"] == "start"  # a server that starts with it
    assert "so the first ones are used" in caplog.text
    Registry(OWN, model_dir).use("learned-1")
    assert store.get("cpu").info["version"] == "learned-1"


def test_one_inference_at_a_time_per_device(tmp_path):
    store = ModelStore("slm_sam2_nano", tmp_path)
    assert store.busy("cpu") is store.busy("cpu")
    assert store.busy("cpu") is not store.busy("cuda")


@pytest.mark.parametrize(
    ("given", "bound"), [({}, 1800), ({"most_seconds": "7"}, 7), ({"most_seconds": "0"}, math.inf)]
)
def test_how_long_an_inference_may_take(studies, given, bound):
    SlmSam2App(str(APP), str(studies), given)
    assert line.most_seconds == bound


def test_a_gpu_without_memory_gets_a_smaller_try(studies, monkeypatch, tmp_path):
    """The answer is the same as ever; when the second try fails, too, it is a refusal."""
    app = SlmSam2App(str(APP), str(studies), {})
    label = write_nifti(tmp_path / "label.nii.gz", painted_slice(phantom()[1], 7))
    app.datastore().save_label("phantom", str(label), "final", {})
    request = {"model": "slmsam2", "image": "phantom"}
    usual = nib.load(app.infer(request)["file"]).get_fdata()
    workspaces, solve = [], infer_room.solve

    def running_out(*args, workspace, **kwargs):
        workspaces.append(workspace)
        if len(workspaces) in (1, 3, 4):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return solve(*args, workspace=workspace, **kwargs)

    monkeypatch.setattr(infer_room, "solve", running_out)
    assert np.array_equal(nib.load(app.infer(request)["file"]).get_fdata(), usual)
    assert [each.features.max_bytes > 0 for each in workspaces] == [True, False]
    with pytest.raises(HTTPException) as refused:
        app.infer(request)
    assert (refused.value.status_code, "memory does not suffice" in refused.value.detail) == (507, True)
    assert np.array_equal(nib.load(app.infer(request)["file"]).get_fdata(), usual)
