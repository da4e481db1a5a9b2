"""Images are prepared when they are opened, so that the first request finds their features."""

import time

import nibabel as nib
import numpy as np
import pytest
import torch

from slmsam2 import propagate_volume
from slmsam2.engine import Workspace
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.workspace import tensor_bytes
from slmsam2.modeling import build_model, checkpoint_path, save_checkpoint
from slmsam2.server.configuration import Configuration
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.prefetch import Prefetcher
from slmsam2.server.running.runs import Run
from slmsam2.volume import Frames, choose_window, read_volume
from tiny_hiera import write_tiny_model

pytestmark = pytest.mark.integration

SHAPE = (40, 36, 9)


@pytest.fixture
def models(tmp_path):
    write_tiny_model(tmp_path, "tiny")
    torch.manual_seed(0)
    network = build_model("tiny", model_dir=tmp_path)
    path = checkpoint_path("tiny", tmp_path)
    path.parent.mkdir()
    save_checkpoint(path, network, version="1", trained={})
    return ModelStore("tiny", tmp_path)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.nii.gz"
    values = np.random.default_rng(0).normal(100, 20, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 3, 1])), path)
    return path


def encoded_by(network, work):
    """How many slices go through the image encoder meanwhile."""
    calls = []
    hook = network.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        work()
    finally:
        hook.remove()
    return len(calls)


def propagate(network, image, workspace):
    painted = np.zeros(SHAPE, np.uint8)
    painted[10:20, 10:20, 4] = 1
    propagate_volume(image, painted, model=network, workspace=workspace, stop_after=None)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_first_request_finds_the_features_of_an_opened_image(models, image):
    workspace = Workspace()
    network = models.get("cpu")
    Prefetcher(models, workspace, Configuration(device="cpu")).opened(lambda: image)
    wait_for(lambda: len(workspace.features) == SHAPE[2] + 1)  # and the positions, equal for all
    assert encoded_by(network, lambda: propagate(network, image, workspace)) == 0
    assert encoded_by(network, lambda: propagate(network, image, Workspace())) == SHAPE[2]


def test_no_more_than_half_of_the_workspace_is_taken(models, image):
    network = models.get("cpu")
    volume = read_volume(image)
    one = FeatureCache(network, Frames(volume.array.transpose(2, 0, 1), choose_window(volume), 64))[0]
    small = Workspace(feature_bytes=8 * tensor_bytes(one.feats))

    def prepare():
        prefetcher = Prefetcher(models, small, Configuration(device="cpu"))
        prefetcher.opened(lambda: image)
        after = []
        prefetcher.opened(lambda: after.append(1) or image.with_name("gone.nii.gz"))
        wait_for(lambda: after)

    assert encoded_by(network, prepare) in (4, 5)


def test_an_inference_does_not_wait_for_the_preparation_of_all_slices(models, image):
    workspace = Workspace()
    turns = models.turns("cpu")
    with turns.take(Run(), "annotator", short=False):
        Prefetcher(models, workspace, Configuration(device="cpu")).opened(lambda: image)
        time.sleep(0.3)
        assert len(workspace.features) == 0
    wait_for(lambda: len(workspace.features) > 0)


def test_a_damaged_image_is_passed_over(models, image, tmp_path):
    workspace = Workspace()
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(b"no image")
    prefetcher = Prefetcher(models, workspace, Configuration(device="cpu"))
    prefetcher.opened(lambda: damaged)
    prefetcher.opened(lambda: image)
    wait_for(lambda: len(workspace.features) > 0)


def test_for_a_network_that_looks_at_regions_the_image_is_only_read(image):
    models, workspace = ModelStore("slm_sam2_nano"), Workspace()

    def prepare():
        Prefetcher(models, workspace, Configuration(device="cpu")).opened(lambda: image)
        wait_for(lambda: len(workspace.volumes) == 1)
        time.sleep(0.3)

    assert encoded_by(models.get("cpu"), prepare) == 0
    image.write_bytes(image.read_bytes())  # another time of change: what is kept is not taken for it
    assert len(workspace.features) == 0
    assert workspace.read(image).shape == SHAPE
    assert len(workspace.volumes) == 2
