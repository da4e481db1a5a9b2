"""Bad input gets a 4xx with a sentence that says what to do, and the server goes on."""

import gzip

import numpy as np
import pytest
import requests
from server_studies import AFFINE, SHAPE, painted_slice, refused, write_nifti

pytestmark = pytest.mark.server


@pytest.fixture
def label(truth, tmp_path):
    return str(write_nifti(tmp_path / "label.nii.gz", painted_slice(truth, 7)))


@pytest.fixture(autouse=True)
def goes_on(client, server):
    """After every refusal the server still answers, and keeps no file of the request."""
    yield
    assert "slmsam2" in client.info()["models"]
    assert server.left_behind() == []


def moved(millimetres):
    affine = AFFINE.copy()
    affine[:3, 3] += millimetres
    return affine


@pytest.mark.parametrize(
    ("array", "affine", "says"),
    [
        (np.zeros(SHAPE, np.uint8), AFFINE, "Paint"),
        (np.ones(SHAPE, np.uint8), moved(5000), "do not share a painted voxel"),
        (np.full(SHAPE, 0.5, np.float32), AFFINE, "fractional"),
        (np.full(SHAPE, -1, np.int16), AFFINE, "whole numbers"),
        (np.full((*SHAPE, 2), 1, np.uint8), AFFINE, "3D"),
        (np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int32) % 300, AFFINE, "254"),
    ],
    ids=["empty", "elsewhere", "fractional", "negative", "4D", "too many structures"],
)
def test_labels(client, tmp_path, array, affine, says):
    path = write_nifti(tmp_path / "label.nii.gz", array, affine)
    status, sentence = refused(client, "phantom", {}, label_in=str(path))
    assert status == 400
    assert says in sentence


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("label.nii.gz", b"text"),
        ("label.nrrd", b""),
        ("label", b"x" * 900),
        ("label.bin.gz", b"text"),
        ("label.bin.gz", gzip.compress(b"x" * 900, mtime=0)[:-9]),
    ],
)
def test_labels_that_are_no_images(client, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    status, sentence = refused(client, "phantom", {}, label_in=str(path))
    assert status == 400
    assert sentence.endswith(".")


def test_raw_label_of_another_size(client, tmp_path):
    path = tmp_path / "label.bin"
    path.write_bytes(b"\x01" * 100)
    status, sentence = refused(client, "phantom", {}, label_in=str(path))
    assert status == 400
    assert "100 bytes" in sentence
    assert str(np.prod(SHAPE)) in sentence


@pytest.mark.parametrize(
    ("image", "says"),
    [("constant", "Every voxel"), ("nan", "finite"), ("series", "3D"), ("text", "not a NIfTI image")],
)
def test_images(client, label, image, says):
    status, sentence = refused(client, image, {}, label_in=label)
    assert status == 400
    assert says in sentence


@pytest.mark.parametrize(
    "image", ["nobody", "../phantom", "/etc/hostname", "sub/phantom", "..", "pyproject.toml"]
)
def test_unknown_images(client, label, image):
    status, sentence = refused(client, image, {}, label_in=label)
    assert status == 404
    assert repr(image) in sentence
    assert "datastore" in sentence


def test_an_image_path_outside_the_datastore(client, server, label, tmp_path):
    outside = write_nifti(tmp_path / "outside.nii.gz", np.ones(SHAPE, np.int16))
    status, sentence = refused(client, str(outside), {}, label_in=label)
    assert (status, "datastore" in sentence) == (404, True)
    status, sentence = refused(client, "phantom", {"image": str(outside)}, label_in=label)
    assert (status, "another image" in sentence) == (400, True)
    inside = server.studies / "phantom.nii.gz"  # even a path into the datastore is no id
    assert refused(client, str(inside), {}, label_in=label)[0] == 404


@pytest.mark.parametrize("session", ["nobody", "../sessions", "a/b"])
def test_unknown_sessions(client, label, session):
    status, sentence = refused(client, "", {}, label_in=label, session_id=session)
    assert status == 404
    assert "session" in sentence


def test_a_session_in_params_opens_nothing(client, label, tmp_path):
    outside = write_nifti(tmp_path / "outside.nii.gz", np.ones(SHAPE, np.int16))
    params = {"session": {"image": str(outside)}}
    assert refused(client, "", params, label_in=label, session_id="nobody")[0] == 404


@pytest.mark.parametrize("upload", [True, False])
def test_a_label_path_in_params(client, label, upload):
    status, sentence = refused(client, "phantom", {"label": label}, label_in=label if upload else None)
    assert status == 400
    assert "uploaded" in sentence


def test_our_own_keys_in_params_mean_nothing(client, label):
    status, sentence = refused(client, "turned", {"study": {"image": label}})
    assert status == 400
    assert "none is saved" in sentence


@pytest.mark.parametrize("params", [{}, {"tag": "nobody"}])
def test_no_label_at_all(client, params):
    status, sentence = refused(client, "turned", params)
    assert status == 400
    assert "Paint one slice" in sentence


def test_no_label_for_an_uploaded_image(client, server):
    status, sentence = refused(client, "", {}, file=str(server.studies / "phantom.nii.gz"))
    assert status == 400
    assert "Paint one slice" in sentence


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"axis": 5}, "0, 1, 2"),
        ({"prompt_slices": [99]}, "0 to 13"),
        ({"prompt_slices": [3]}, "painted"),
        ({"prompt_slices": {"heart": [3]}}, "names heart, of which nothing is painted"),
        ({"prompt_slices": {"liver": [99]}}, "0 to 13"),
        ({"prompt_slices": {"liver": "here"}}, "slice numbers"),
        ({"structures": ["heart"]}, "liver"),
        ({"selected_label_name": "heart"}, "nothing is painted in it"),
        ({"first_slice": 99}, "13"),
        ({"direction": "up"}, "both, forward, backward"),
        ({"window": "wide"}, "level/width"),
        ({"preset": "heart"}, "abdomen"),
        ({"device": "toaster"}, "cpu"),
        ({"result_extension": ".stl"}, ".nrrd"),
        ({"label_tag": "../x", "save_label": True}, "tag"),
    ],
)
def test_parameters(client, label, params, says):
    names = [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}, {"name": "heart", "id": 3}]
    status, sentence = refused(client, "phantom", {"label_info": names, **params}, label_in=label)
    assert status == 400
    assert says in sentence


def test_a_type_that_cannot_hold_the_values(client, tmp_path, truth):
    path = write_nifti(tmp_path / "label.nii.gz", painted_slice(truth, 7).astype(np.int16) * 200)
    status, sentence = refused(client, "phantom", {"result_dtype": "uint8"}, label_in=str(path))
    assert status == 400
    assert "400" in sentence


def test_unknown_model(server):
    reply = requests.post(f"{server.url}/infer/nobody", params={"image": "phantom"}, timeout=10)
    assert reply.status_code == 404
    assert "slmsam2" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("query", "params"), [({}, "{}"), ({"image": "phantom"}, "{"), ({"image": "phantom"}, "[1]")]
)
def test_broken_requests(server, query, params):
    reply = requests.post(f"{server.url}/infer/slmsam2", params=query, data={"params": params}, timeout=10)
    assert reply.status_code == 400
    assert reply.json()["detail"].endswith(".")


def test_whole_slides_are_refused(server, label):
    reply = requests.post(
        f"{server.url}/infer/wsi_v2/slmsam2", params={"image": label}, data={"wsi": "{}"}, timeout=10
    )
    assert reply.status_code == 400
    assert "volumes" in reply.json()["detail"]
