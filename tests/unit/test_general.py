"""Synthetic volumes to judge by, and synthetic clips among those that are learnt from."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.masks import largest_slice
from slmsam2.modeling import build_model
from slmsam2.training import general, lessons
from slmsam2.training.clip import encode_clips
from slmsam2.training.finetune import Preset
from slmsam2.training.general import SyntheticTask, synthetic_dice
from slmsam2.training.labelled import Case, Structure, Submission
from slmsam2.training.lessons import ClipSource, Lesson
from slmsam2.training.prompts import PromptSettings
from slmsam2.volume import Volume, choose_window

pytestmark = pytest.mark.unit


def test_the_volumes_are_the_same_every_time_and_differ_from_each_other():
    (image, mask), (again, same) = SyntheticTask(0).volume(), SyntheticTask(0).volume()
    assert np.array_equal(image.array, again.array)
    assert np.array_equal(mask, same)
    assert image.shape == mask.shape
    assert mask.any()
    assert not np.array_equal(mask, SyntheticTask(1).volume()[1])


def test_dice_counts_all_slices_but_the_painted_one(monkeypatch):
    _, mask = SyntheticTask(0).volume()
    painted = largest_slice(mask, 0)

    def finds(what):
        monkeypatch.setattr(general, "propagate_volume", lambda *args, **options: (what, None))
        return synthetic_dice(SyntheticTask(0), None)

    assert finds(mask.astype(np.uint8)) == 1.0
    only = np.zeros_like(mask)
    only[painted] = mask[painted]
    assert finds(only) == 0.0
    half = mask.copy()
    half[painted + 1 :] = False
    rest = mask.sum() - mask[painted].sum()
    below = mask[:painted].sum()
    assert finds(half) == pytest.approx(2 * below / (below + rest))


@pytest.fixture(scope="module")
def network():
    return build_model("slm_sam2_nano", overrides={"image_size": 64})


def source(network, share, at_rest=False):
    structure = Structure("rod", 1, 2, np.ones(4, int), np.ones(4, bool))
    case = Case(Submission("a", Path("image"), Path("label")), "digest", {"rod": structure})
    settings = Preset.read("small").clip
    changed = {"rehearsal": share, "slices": 4, "prompts": PromptSettings()}
    settings = type(settings)(**(vars(settings) | changed))
    return ClipSource([Lesson(case, structure, True)], network, settings, encoder_at_rest=at_rest, seed=1)


def test_lessons_are_shown_at_the_networks_contrast(network, monkeypatch):
    image = Volume(np.random.default_rng(0).normal(100, 20, (8, 8, 4)), np.eye(4))
    label = np.ones(image.shape, np.uint8)
    shown = []
    monkeypatch.setattr(lessons, "make_view", lambda *args, window, **more: shown.append(window))
    monkeypatch.setattr(network, "inference", replace(network.inference, contrast=2.0))
    lesson_source = source(network, 0.0)
    monkeypatch.setattr(lesson_source, "_load", lambda case: (image, label))
    lesson_source._view(0, 0)
    assert shown == [choose_window(image, label > 0).with_contrast(2.0)]


def test_synthetic_clips_are_rehearsed(network):
    clip = source(network, 1.0).draw(3, 0)
    assert clip.frames.shape == (1, 4, 3, 64, 64)
    assert clip.masks.shape == (1, 3, 4, 64, 64)
    assert clip.masks[:, :, 0].flatten(2).any(dim=2).all()
    assert clip.known.shape == (3, 4)
    assert clip.known.all()
    assert torch.equal(clip.frames, source(network, 1.0).draw(3, 0).frames)
    assert not torch.equal(clip.frames, source(network, 1.0).draw(4, 0).frames)


def test_rehearsed_clips_of_an_encoder_at_rest_come_as_features(network):
    clip, resting = source(network, 1.0).draw(3, 0), source(network, 1.0, at_rest=True).draw(3, 0)
    assert resting.frames is None
    with torch.no_grad():
        encoded = encode_clips(network, clip.frames)
    for found, expected in zip(resting.encoded.feats, encoded.feats, strict=True):
        torch.testing.assert_close(found, expected)


def test_rehearsal_takes_its_share_of_the_clips(network, monkeypatch):
    monkeypatch.setattr(ClipSource, "_rehearsed", lambda self, generator: "synthetic")
    monkeypatch.setattr(ClipSource, "_view", lambda self, chosen, variant: pytest.fail("a real one"))
    one = source(network, 0.25)

    def kind(step):
        try:
            return one.draw(step, 0)
        except pytest.fail.Exception:
            return "real"

    kinds = list(itertools.islice(map(kind, itertools.count()), 400))
    assert kinds.count("synthetic") / len(kinds) == pytest.approx(0.25, abs=0.06)
