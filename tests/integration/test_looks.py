"""What is learnt of structures' looks from labels, kept with the weights, and used where a structure has that name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.engine import Settings, Workspace, propagate_frames, propagate_volume
from slmsam2.engine.features import FeatureCache
from slmsam2.errors import CheckpointError
from slmsam2.modeling import InferenceSettings, build_model, read_checkpoint, save_checkpoint
from slmsam2.modeling.checkpoint import mean_content, own_content
from slmsam2.training import looks as module
from slmsam2.training.labelled import Case, Structure, Submission, known_slices
from slmsam2.training.lessons import Lesson
from slmsam2.training.looks import learn_looks
from slmsam2.volume import Volume

pytestmark = pytest.mark.integration

NAMES = {"ball": 1, "rod": 2}


@pytest.fixture
def volume():
    """A bright ball and a dark rod in noise, (48, 44, 30)."""
    label = np.zeros((48, 44, 30), np.uint8)
    i, j, k = np.indices(label.shape)
    label[(i - 16) ** 2 + (j - 20) ** 2 + (k - 14) ** 2 <= 64] = NAMES["ball"]
    label[((i - 36) ** 2 + (j - 30) ** 2 <= 25) & (k > 4) & (k < 25)] = NAMES["rod"]
    shades = np.array([100.0, 300.0, 20.0])[label]
    noise = np.random.default_rng(0).normal(0, 5, label.shape)
    return Volume((shades + noise).astype(np.float32), np.eye(4)), label


def lessons_of(label):
    structures = {}
    for name, value in NAMES.items():
        areas = np.count_nonzero(label == value, axis=(0, 1))
        structures[name] = Structure(name, value, 2, areas, known_slices(areas))
    case = Case(Submission("image", Path("image"), Path("label")), "digest", structures)
    return [Lesson(case, structure, fresh=True) for structure in structures.values()]


@pytest.fixture
def encoded(monkeypatch):
    """Slices that are encoded, counted."""
    counted = []
    encode = FeatureCache._encode
    monkeypatch.setattr(
        FeatureCache, "_encode", lambda self, index: counted.append(index) or encode(self, index)
    )
    return counted


def same(one, other):
    return one.digest() == other.digest()


def test_looks_of_each_structure(network, volume):
    looks = learn_looks(lessons_of(volume[1]), network, lambda case: volume)
    assert looks.keys() == NAMES.keys()
    assert not same(looks["ball"], looks["rod"])
    for one in looks.values():
        explained = one.ridge()[0] @ one.cross / (1 - one.target.square())
        assert float(explained) > 0.4  # even random features tell bright from dark
        assert -1 < float(one.target) < 1e-6  # both sides count alike, but for slices past the ends


def test_slices_that_nobody_answers_for_are_not_learnt_from(network, volume):
    image, label = volume
    ball, _ = lessons_of(label)
    known = np.zeros(label.shape[2], bool)
    known[10:18] = True
    partly = replace(ball, structure=replace(ball.structure, known=known))
    # the label where it is not known: something else altogether; slices ascend as stored here
    wrong = label.copy()
    wrong[..., :9] = 0
    looks, others = (
        learn_looks([partly], network, lambda case, found=found: (image, found)) for found in (label, wrong)
    )
    assert same(looks["ball"], others["ball"])


def test_time_is_bounded_and_each_structure_has_its_turn(network, volume, encoded, monkeypatch):
    monkeypatch.setattr(module, "MOST_SLICES", 16)
    ball, rod = lessons_of(volume[1])
    looks = learn_looks([ball, ball, ball, rod], network, lambda case: volume)
    assert looks.keys() == NAMES.keys()
    assert len(encoded) == 16


def test_a_network_that_does_not_use_them_learns_none(network, volume, monkeypatch):
    monkeypatch.setattr(network, "inference", InferenceSettings())
    assert learn_looks(lessons_of(volume[1]), network, lambda case: volume) == {}


@pytest.fixture
def knowing(network, volume, monkeypatch):
    """The network, knowing the ball of the volume by the name of "ball"."""
    looks = learn_looks(lessons_of(volume[1])[:1], network, lambda case: volume)
    monkeypatch.setattr(network, "looks", looks)
    return network


def test_they_count_for_structures_of_that_name(knowing, volume, monkeypatch):
    image, label = volume
    painted = np.zeros_like(label)
    painted[..., 14] = label[..., 14] == 1
    told = []
    propagate = propagate_frames

    def listen(*args, looks, **options):
        told.append(looks)
        return propagate(*args, looks=looks, **options)

    monkeypatch.setattr("slmsam2.engine.structures.propagate_frames", listen)
    for name, known in (("ball", {1: knowing.looks["ball"]}), ("something else", {})):
        told.clear()
        propagate_volume(image, painted, model=knowing, axis=2, label_names={name: 1})
        assert told
        assert all(one == known for one in told)


def test_what_was_found_without_them_is_not_taken_for_what_is_found_with_them(
    knowing, frames, square, monkeypatch
):
    workspace = Workspace()

    def found(looks):
        features = FeatureCache(knowing, frames, workspace=workspace)
        return propagate_frames(
            knowing, frames, {1: {5: square}}, out_size=(40, 50), settings=Settings(), features=features,
            looks=looks,
        )  # fmt: skip

    monkeypatch.setattr("slmsam2.engine.appearance._agreement", lambda *of: 1.0)
    without, with_them, again = (found(looks) for looks in (None, {1: knowing.looks["ball"]}, None))
    assert not torch.equal(without.low_res, with_them.low_res)
    assert torch.equal(without.low_res, again.low_res)
    assert with_them.redone == {1: set(range(12)) - {5}}
    assert again.redone == {1: set()}


def test_they_are_kept_with_the_weights(knowing, tmp_path):
    path = tmp_path / "own.pt"
    save_checkpoint(path, knowing, version="v1", trained={})
    sizes = {"num_maskmem": knowing.num_maskmem}
    again = build_model("slm_sam2_nano", checkpoint=path, overrides=sizes)
    assert same(again.looks["ball"], knowing.looks["ball"])

    checkpoint = read_checkpoint(path)
    assert own_content(checkpoint, again, "v2")["looks"].keys() == {"ball"}
    assert "looks" not in mean_content(
        [checkpoint, checkpoint], again, "v3"
    )  # its features are none of these

    content = torch.load(path, weights_only=True)
    del content["looks"]["ball"]["mean"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="looks"):
        read_checkpoint(path)
