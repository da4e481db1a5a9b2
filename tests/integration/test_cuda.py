"""A GPU finds what the CPU finds, and trains. Skipped where there is none."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.engine import Workspace, load_model, propagate_volume
from slmsam2.engine.embedding import volume_vector
from slmsam2.engine.job import Job, solve
from slmsam2.engine.numbering import slice_settings
from slmsam2.masks import largest_slice, occupied_slices, only_slice
from slmsam2.metrics import dice
from slmsam2.modeling import build_model, load_config
from slmsam2.modeling.build import starting_path
from slmsam2.prompts import Marks
from slmsam2.training.finetune import FineTuner, Preset
from slmsam2.training.labelled import Submission, read_case
from slmsam2.training.lessons import ClipSource, Lesson
from slmsam2.training.pretrain import Pretrainer
from slmsam2.training.workers import Workers
from slmsam2.volume import SliceView, choose_window, read_label, read_volume

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that PyTorch can use"),
]

DEVICE = "cuda"
CT = Path(__file__).resolve().parents[2] / "data" / "ts_ct_abdomen_3mm"
AXIS = 2
NAMES = {"spleen": 1, "kidney_right": 2, "liver": 5}
ALIKE = 0.98  # Dice coefficient; convolutions round to TF32 on a GPU
NEARLY = 0.95  # where the image encoder rounds to bfloat16, or clicks leave the network in doubt


@pytest.fixture(scope="module")
def image():
    return read_volume(CT / "image.nii.gz")


@pytest.fixture(scope="module")
def masks(image):
    """Structure -> bool (I, J, K)."""
    label = read_label(CT / "label.nii.gz").array
    return {name: label == value for name, value in NAMES.items()}


@pytest.fixture(scope="module")
def networks():
    """The embedded model on the CPU and on the GPU, by its speed."""
    made = {}

    def both(speed="quality"):
        if speed not in made:
            made[speed] = [load_model("slm_sam2_nano", device=name, speed=speed) for name in ("cpu", DEVICE)]
        assert [network.device.type for network in made[speed]] == ["cpu", DEVICE]
        return made[speed]

    return both


def painted(masks, *names, later=0):
    """uint8 (I, J, K): each structure on its largest slice, or so many after it."""
    label = np.zeros(masks["liver"].shape, np.uint8)
    for name in names:
        index = largest_slice(masks[name], AXIS) + later
        label[only_slice(masks[name], AXIS, index)] = NAMES[name]
    return label


def on_both(networks, image, label, **how):
    """Dice of each structure that was propagated, between the two devices."""
    results = [
        propagate_volume(image, label, model=network, axis=AXIS, label_names=NAMES, **how)[0]
        for network in networks
    ]
    return [dice(*(result == value for result in results)) for value in np.unique(label[label > 0])]


def test_a_painted_slice(networks, image, masks):
    assert min(on_both(networks(), image, painted(masks, "spleen"))) > ALIKE


def test_several_structures(networks, image, masks):
    found = on_both(networks(), image, painted(masks, *NAMES))
    assert len(found) == 3
    assert min(found) > ALIKE


def test_the_published_order(networks, image, masks):
    assert min(on_both(networks(), image, painted(masks, "kidney_right"), order="published")) > ALIKE


@pytest.mark.parametrize("speed", ["balanced", "fast"])
def test_speeds(networks, image, masks, speed, monkeypatch):
    both = networks(speed)
    assert both[1].info["encoder"] == "bfloat16"
    assert min(on_both(both, image, painted(masks, "kidney_right"))) > NEARLY
    for network in both:
        monkeypatch.setitem(network.info, "encoder", "float32")
    assert min(on_both(both, image, painted(masks, "kidney_right"))) > ALIKE


@pytest.mark.parametrize(("outlined", "least"), [(True, ALIKE), (False, NEARLY)])
def test_marks_and_a_slice_said_to_be_empty(networks, image, masks, outlined, least, monkeypatch):
    view = SliceView(image.shape, image.affine, AXIS)
    reference = view.to_stack(masks["kidney_right"])
    middle = largest_slice(reference, 0)
    beyond = int(occupied_slices(reference, 0)[-1]) + 2
    nothing = np.zeros(view.slice_shape, bool)
    prompts = {
        middle: Marks(click(reference[middle]), nothing, box_around(reference[middle])),
        middle + 6: Marks(click(reference[middle + 6]), nothing),
        middle - 5: Marks(nothing, click(reference[middle])),
        beyond: nothing,
    }
    settings = slice_settings(view, "both", None, None, 3, "independent")
    given = np.zeros(reference.shape, np.uint8)
    job = Job(view, given, {1: prompts}, choose_window(image), settings)
    results = []
    for network in networks():
        monkeypatch.setattr(network, "inference", replace(network.inference, outline_marks=outlined))
        result, _ = solve(network, image, job, {"kidney": 1})
        results.append(result > 0)
        assert not view.to_stack(result)[beyond].any()
    assert results[0].any()
    assert dice(*results) > least


def click(mask):
    """Bool (H, W): one pixel in the middle of those of ``mask``."""
    pixels = np.argwhere(mask)
    marked = np.zeros_like(mask)
    marked[tuple(pixels[len(pixels) // 2])] = True
    return marked


def box_around(mask):
    rows, columns = np.nonzero(mask)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def test_a_correction_in_a_workspace(networks, image, masks):
    first = painted(masks, "kidney_right")
    second = first | painted(masks, "kidney_right", later=8)
    results = []
    for network in networks():
        workspace, how = Workspace(), {"model": network, "axis": AXIS, "label_names": NAMES}
        propagate_volume(image, first, workspace=workspace, **how)
        encoded = len(workspace.features)
        result, report = propagate_volume(image, second, workspace=workspace, **how)
        again, _ = propagate_volume(image, second, **how)
        assert dice(result > 0, again > 0) > ALIKE
        assert 0 < len(report["structures"]["kidney_right"]["redone"]) < encoded
        results.append(result > 0)
    assert dice(*results) > ALIKE


def test_vectors_of_volumes(networks, image):
    one, other = (volume_vector(network, image) for network in networks())
    assert np.linalg.norm(one - other) < 0.01


def test_pre_training():
    config = load_config("pretrain_nano")
    config.stages = [
        {"steps": 2, "clips": 2, "slices": 3},
        {"steps": 1, "clips": 2, "slices": 3, "prompts": {"box": 1.0, "clicks": 2, "later_click": 1.0}},
    ]
    curves = []
    for graphs in (True, False):
        trainer, losses = Pretrainer(config, Workers(0, 1, torch.device(DEVICE)), graphs=graphs), []
        before = next(trainer.model.parameters()).detach().clone()
        trainer.run(lambda _, values, losses=losses: losses.append(values))
        after = next(trainer.model.parameters())
        assert after.device.type == DEVICE
        assert not torch.equal(before, after)
        assert trainer.averaged_model().device.type == "cpu"
        curves.append(losses)
    assert [len(losses) for losses in curves] == [3, 3]
    assert all(math.isfinite(value) for losses in curves for values in losses for value in values.values())
    assert curves[0][0]["total"] == pytest.approx(curves[1][0]["total"], rel=0.02)


@pytest.mark.parametrize("preset", ["small", "fast", "full"])
def test_learning(preset):
    case = read_case(Submission("ct", CT / "image.nii.gz", CT / "label.nii.gz", NAMES))
    lessons = [Lesson(case, case.structures[name], fresh=True) for name in NAMES]
    network = build_model("slm_sam2_nano", checkpoint=starting_path("slm_sam2_nano"), device=DEVICE)
    how = Preset.read(preset)
    source = ClipSource(lessons, network, how.clip, encoder_at_rest=not how.train_encoder, seed=1)
    tuner = FineTuner(network, source, how, 2, Workers(0, 1, torch.device(DEVICE)))
    losses = [tuner.train_step() for _ in range(2)]
    assert all(math.isfinite(value) for values in losses for value in values.values())
    assert any(not torch.equal(mean, now) for mean, now in zip(tuner.average, tuner.parameters, strict=True))
    with tuner.having(tuner.between(1.0)) as changed:
        assert changed.device.type == DEVICE
