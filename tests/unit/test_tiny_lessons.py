"""Structures of a pixel or two are learnt like others: each clip begins with one, on a slice that is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.modeling import build_model
from slmsam2.training.clip import encode_clips, run_clip
from slmsam2.training.finetune import Preset
from slmsam2.training.labelled import Case, Structure, Submission
from slmsam2.training.lessons import ClipSettings, ClipSource, Lesson
from slmsam2.training.losses import clip_loss
from slmsam2.training.prompts import PromptSettings
from slmsam2.training.views import Distortion, DistortionSettings, View
from slmsam2.volume import Volume, Window

pytestmark = pytest.mark.unit

SIZE = 64
HELD_BACK = 5  # the largest slice


@pytest.fixture(scope="module")
def network():
    return build_model("slm_sam2_nano", overrides={"image_size": SIZE})


@pytest.fixture
def clips_of(network, monkeypatch):
    """Draws clips of a structure of one pixel a slice, two on the slice that is held back, in whole slices."""
    label = np.zeros((128, 128, 12), np.uint8)
    label[60, 70] = 1
    label[61, 70, HELD_BACK] = 1
    image = Volume(np.random.default_rng(0).normal(100, 20, label.shape).astype(np.float32), np.eye(4))
    known = np.arange(12) != HELD_BACK
    structure = Structure("duct", 1, 2, np.count_nonzero(label, axis=(0, 1)), known)
    case = Case(Submission("a", Path("image"), Path("label")), "digest", {"duct": structure})
    monkeypatch.setattr(network, "inference", replace(network.inference, crop_margin=None))

    def draw(distortion, variants, count):
        settings = ClipSettings(4, 1, variants, 0.3, 0.2, PromptSettings(), distortion)
        source = ClipSource([Lesson(case, structure, True)], network, settings, encoder_at_rest=False, seed=1)
        monkeypatch.setattr(source, "_load", lambda case: (image, label))
        return [source.draw(step, 0) for step in range(count)]

    return draw


def test_a_distorted_pixel_is_not_lost():
    labels = np.zeros((1, 1, 128, 128), bool)
    labels[..., 60, 70] = True
    for seed in range(60):
        distortion = Distortion.draw(DistortionSettings(), torch.Generator().manual_seed(seed))
        view = View(np.zeros((1, 128, 128)), labels, np.ones((1, 1), bool), Window(0.5, 1), SIZE, distortion)
        assert 1 <= view.masks([0], [0]).sum() <= 4


def test_what_is_out_of_sight_is_not_made_up():
    labels = np.zeros((1, 1, 128, 128), bool)
    labels[..., 60, 70] = True
    aside = Distortion(None, torch.tensor([[1.0, 0, 5], [0, 1, 0]]), level=0.0, width=1.0)
    view = View(np.zeros((1, 128, 128)), labels, np.ones((1, 1), bool), Window(0.5, 1), SIZE, aside)
    assert not view.masks([0], [0]).any()


@pytest.mark.parametrize("variants", [0, 3])
@pytest.mark.parametrize("shift", [0.08, 20.0], ids=["usual", "out of sight"])
def test_every_clip_begins_with_the_structure_on_a_known_slice(clips_of, variants, shift):
    for clip in clips_of(DistortionSettings(shift=shift), variants, 30):
        assert clip.masks.shape[1] == 1
        assert clip.masks[0, 0, 0].any()
        assert clip.known[0, 0]


def test_training_on_them_goes_well(network, clips_of):

    settings = Preset.read("small").clip
    for clip in clips_of(settings.distortion, 0, 3):
        outputs = run_clip(network, encode_clips(network, clip.frames), clip.masks, clip.plan, clip.generator)
        loss = clip_loss(outputs, clip.masks.flatten(0, 1), known=clip.known, absent_pixels=5)
        assert loss.total.isfinite()
