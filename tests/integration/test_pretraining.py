"""Pre-training: learns, gives the same twice, and resumes to the same result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from interrupting import interrupt
from slmsam2.errors import CheckpointError
from slmsam2.modeling import load_config
from slmsam2.training.clip import encode_clips, run_clip
from slmsam2.training.losses import clip_loss
from slmsam2.training.pretrain import Pretrainer
from slmsam2.training.prompts import PromptPlan
from slmsam2.training.workers import Workers

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pretrain.py"
PROMPTS = {"point": 0.4, "box": 0.4, "clicks": 2, "later_click": 0.5}


@pytest.fixture
def config(tmp_path):
    """Makes settings for a short run of a small network; ``steps`` is the length of the first stage."""
    network = load_config("slm_sam2_nano")
    network.model.image_size = 64
    OmegaConf.save(network, tmp_path / "small.yaml")

    def make(steps=6):
        return OmegaConf.create(
            {
                "model": str(tmp_path / "small.yaml"),
                "seed": 4,
                "stages": [
                    {"steps": steps, "clips": 2, "slices": 2},
                    {"steps": 4, "clips": 1, "slices": 3, "prompts": PROMPTS},
                ],
                "structures": 2,
                "learning_rate": 1e-3,
                "final_learning_rate": 1e-4,
                "warmup": 2,
                "cooldown": 0.5,
                "weight_decay": 0.05,
                "clip_gradient": 1.0,
                "average": 0.9,
            }
        )

    return make


def losses(trainer, steps):
    seen = []
    trainer.run(lambda step, values: seen.append(values["total"]), until=lambda: len(seen) >= steps)
    return seen


def test_loss_falls(config):
    curve = losses(Pretrainer(config(steps=30), mixed_precision=False), 30)
    assert sum(curve[-10:]) < 0.7 * sum(curve[:10])


def test_clips_of_label_maps_are_learnt_from(config, tmp_path):
    """The first stage's clips are of both kinds, half and half; the same seed gives the same."""
    labels = np.zeros((30, 30, 30), np.uint16)
    labels[5:25, 5:25, 5:25] = 1
    labels[10:20, 10:20, 8:22] = 2
    boxes = [[[5, 25]] * 3, [[10, 20], [10, 20], [8, 22]]]
    (tmp_path / "maps" / "cubes").mkdir(parents=True)
    file, facts = tmp_path / "maps" / "cubes" / "one.npz", {"structures": [1, 2], "boxes": boxes}
    np.savez(file, labels=labels, spacing=np.ones(3), **facts)

    def run(maps):
        settings = config()
        settings.stages[0].mapped = maps
        settings.label_maps = str(tmp_path / "maps")
        trainer = Pretrainer(settings, mixed_precision=False)
        return losses(trainer, 6), trainer.data

    curve, data = run(1)
    assert run(1) == (curve, data)
    assert "label maps" in data
    assert run(0)[0] != curve
    assert run(0)[1] == "synthetic volumes only"
    np.savez(file, labels=labels, spacing=np.ones(3), image=np.float16(labels / 2), **facts)
    pictured, data = run(1)
    assert pictured != curve
    assert data.startswith("synthetic and real images of label maps")


def test_same_seed_same_curve_and_resuming_goes_on_with_it(config, tmp_path):
    whole = losses(Pretrainer(config(), mixed_precision=False), 8)
    first = Pretrainer(config(), mixed_precision=False)
    part = losses(first, 5)
    first.save(tmp_path / "state.pt")
    second = Pretrainer(config(), mixed_precision=False)
    second.resume(tmp_path / "state.pt")
    assert second.step == 5
    assert part + losses(second, 3) == pytest.approx(whole, rel=1e-4)
    assert [path.name for path in tmp_path.glob("*state*")] == ["state.pt"]


def test_a_state_of_other_stages_is_refused(config, tmp_path):
    Pretrainer(config(), mixed_precision=False).save(tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="other stages"):
        Pretrainer(config(steps=7), mixed_precision=False).resume(tmp_path / "state.pt")


def test_averaged_model_follows_the_weights(config):
    trainer = Pretrainer(config(), mixed_precision=False)
    before = trainer.averaged_model().maskmem_tpos_enc.clone()
    losses(trainer, 3)
    after = trainer.averaged_model().maskmem_tpos_enc
    assert not torch.equal(before, after)
    assert not torch.equal(after, trainer.model.maskmem_tpos_enc)


def test_masks_reach_the_loss_before_the_object_score_blanks_them(network, frames):
    """A score below 0 blanks SAM 2's masks; the recorded logits still carry a gradient."""
    masks = torch.zeros(1, 1, 3, 64, 64, dtype=torch.bool)
    masks[..., 20:40, 20:40] = True
    bias = network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(-5.0)
    try:
        outputs = run_clip(network, encode_clips(network, frames[None, :3]), masks)
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    assert len(outputs.masks) == 2
    assert outputs.masks[0].shape == (1, 1, 16, 16)
    assert outputs.masks[0].min() > -1000
    outputs.masks[1].sum().backward()
    assert network.image_encoder.trunk.patch_embed.proj.weight.grad.abs().sum() > 0
    network.zero_grad()


@pytest.mark.parametrize("kind", ["mask", "point", "box"])
def test_each_kind_of_prompt_with_corrections_can_be_trained(network, frames, kind):
    masks = torch.zeros(1, 2, 3, 64, 64, dtype=torch.bool)
    masks[0, 0, :, 20:40, 20:40] = True
    masks[0, 1, :2, 5:15, 30:60] = True
    clicks = {2: 1} if kind == "mask" else {0: 2, 2: 1}
    generator = torch.Generator().manual_seed(0)
    outputs = run_clip(
        network, encode_clips(network, frames[None, :3]), masks, PromptPlan(kind, clicks), generator
    )
    assert outputs.slices == ([1, 2, 2] if kind == "mask" else [0, 0, 0, 1, 2, 2])
    loss = clip_loss(outputs, masks.flatten(0, 1), absent_pixels=1.0)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert network.image_encoder.trunk.patch_embed.proj.weight.grad.abs().sum() > 0
    network.zero_grad()


def run_script(config, output, *launcher, minutes=10):
    command = [sys.executable, *launcher, SCRIPT, "--config", config, "--output", output, "--full-precision"]
    command += ["--device", "cpu", "--threads", 1, "--minutes", minutes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=300
    )


def curve(output):
    return [json.loads(line)["total"] for line in (output / "losses.jsonl").read_text().splitlines()]


def test_the_command_stops_resumes_and_keeps_its_curve(config, tmp_path):
    settings = config(steps=3)
    settings.save_every = 2
    OmegaConf.save(settings, tmp_path / "short.yaml")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for output, minutes in ((whole, 10), (parts, 0.0001), (parts, 10)):
        run = run_script(tmp_path / "short.yaml", output, minutes=minutes)
        assert run.returncode == 0, run.stderr
    assert len(curve(whole)) == 7
    assert curve(parts) == pytest.approx(curve(whole), rel=1e-4)
    saved = torch.load(parts / "small.pt", weights_only=True)["slmsam2"]["trained"]
    assert (saved["steps"], saved["of"], saved["workers"]) == (7, 7, 1)


def test_two_workers_train_one_network(config, tmp_path):
    """Each sees clips of its own, and both make the same steps."""
    settings = config(steps=2)
    settings.save_every = 100
    OmegaConf.save(settings, tmp_path / "short.yaml")
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    launcher += ["--master-port", "29517"]
    run = run_script(tmp_path / "short.yaml", tmp_path / "both", *launcher)
    assert run.returncode == 0, run.stderr
    assert len(curve(tmp_path / "both")) == 6
    alone = Pretrainer(settings, mixed_precision=False)
    gradients = []
    for rank in range(2):
        one = Pretrainer(settings, Workers(rank, 1, torch.device("cpu")), mixed_precision=False)
        one.train_step()
        gradients.append(one.model.maskmem_tpos_enc.grad.clone())
    assert not torch.allclose(*gradients)  # clips differ
    assert curve(tmp_path / "both")[0] == pytest.approx(losses(alone, 1)[0], rel=1e-4)
    assert torch.load(tmp_path / "both" / "small.pt", weights_only=True)["slmsam2"]["trained"]["workers"] == 2


def test_stopped_at_any_step_it_goes_on_from_there(config, tmp_path, monkeypatch, capsys, request):
    settings = config(steps=3)
    settings.save_every = 50
    OmegaConf.save(settings, tmp_path / "short.yaml")
    interrupt(SCRIPT, Pretrainer, tmp_path / "short.yaml", 7, monkeypatch, capsys, request)
