"""scripts/finetune.py: it learns, resumes on the same curve, and gives the same in several processes or as a job."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from paper_data import write_layout
from slmsam2.modeling import build_model, checkpoint_path, read_checkpoint, save_checkpoint
from slmsam2.paper import finetuning
from slmsam2.paper.configuration import read_configuration
from slmsam2.paper.launch import submit
from slmsam2.training import clip as clip_module
from slmsam2.training.clip import encode_clips, run_clip
from slmsam2.training.prompts import PromptPlan
from tiny_hiera import write_tiny_model

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finetune.py"
DEFAULT = "slm_sam2_hiera_t_finetune"
FOLDERS = {"img_folder": "images", "gt_folder": "masks"}
# Small clips; a rate that shows within a few steps.
SMALL = [
    "scratch.num_frames=4",
    "scratch.base_lr=4e-4",
    "scratch.vision_lr=4e-4",
    "scratch.train_batch_size=2",
    "prompts.clicks=1",
    "trainer.optim.amp.enabled=false",
    "trainer.accelerator=cpu",
]


@pytest.fixture(scope="module")
def finetune(model_dir):
    """Runs the script in this process, with that model folder."""
    spec = importlib.util.spec_from_file_location("finetune_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return lambda *args: script.main([*map(str, args), "--model-dir", str(model_dir)])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("data"), ["v0", "v1", "v2", "v3"])


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A model folder with a tiny Hiera network, to be started from weights like SAM 2.1's."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder, "tiny")
    torch.manual_seed(5)
    start = build_model("tiny", model_dir=folder).state_dict()
    plain = {name: tensor for name, tensor in start.items() if not name.startswith("recent_")}
    (folder / "checkpoints").mkdir()
    torch.save({"model": plain}, folder / "checkpoints" / "tiny.pt")
    return folder


@pytest.fixture(scope="module")
def settings(data, model_dir):
    """Settings of a run into a folder."""

    def of(folder, *changes):
        paths = {"img_folder": "images", "gt_folder": "masks", "file_list_txt": "train.txt"}
        given = [f"dataset.{key}={data / value}" for key, value in paths.items()]
        network = [] if "model.name=slm_sam2_nano" in changes else ["model.name=tiny"]
        given += [*network, "trainer.max_epochs=2", f"launcher.experiment_log_dir={folder}"]
        return [*given, *SMALL, *changes]

    return of


def curve(folder):
    return [json.loads(line)["total"] for line in (folder / "losses.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(finetune, settings, tmp_path_factory):
    """The folder of a run of 3 steps that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert finetune(*settings(folder)) == 0
    assert len(curve(folder)) == 3
    return folder


def weights(folder):
    return read_checkpoint(folder / "checkpoints" / "checkpoint.pt").weights


def unlearnt(path):
    """The embedded model with a disturbed decoder: as good as it comes, there would be little left to learn."""
    network = build_model("slm_sam2_nano", checkpoint=checkpoint_path("slm_sam2_nano"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.sam_mask_decoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(1.0 * parameter.std(correction=0) * noise)
    save_checkpoint(path, network, version="unlearnt", trained={})
    return path


def test_it_raises_the_dice_of_the_test_list(finetune, settings, data, tmp_path, capsys):
    changes = [
        "model.name=slm_sam2_nano",
        "model.overrides.image_encoder.trunk.drop_path_rate=0",
        f"model.checkpoint={unlearnt(tmp_path / 'unlearnt.pt')}",
        "scratch.resolution=128",
        "scratch.train_batch_size=1",
        "trainer.max_epochs=4",
    ]
    validation = [f"validation.file_list_txt={data / 'test.txt'}", "validation.every_epochs=4"]
    command = settings(tmp_path / "run", "scratch.num_frames=8", *changes, *validation)
    assert finetune(*command, "--dry-run") == 0
    told = capsys.readouterr().out
    assert "training: 3 volumes, 30 slices; objects 1 (in 3), 2 (in 3)" in told
    assert "steps: 12 of 1 clips; 4 epochs of 3 clips" in told
    assert "validation: 1 volumes, 1 times" in told
    assert not (tmp_path / "run").exists()
    assert finetune(*command) == 0
    kept = read_checkpoint(tmp_path / "run" / "checkpoints" / "checkpoint.pt")
    (before,), (after,) = (kept.trained["validation"][when] for when in ("before", "after"))
    assert after > before + 0.05
    assert kept.trained["volumes"] == ["v0", "v1", "v2"]
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_interrupted_and_resumed_it_keeps_its_curve(finetune, settings, whole, tmp_path, monkeypatch, capsys):
    """Asked to stop after the second step, and killed later on: the curve and the weights are those of one run."""
    real = finetuning.RunLog.losses

    def stop(self, step, *rest):
        real(self, step, *rest)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(finetuning.RunLog, "losses", stop)
    command = settings(tmp_path / "run")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert finetune(*command) == 75
    assert "Interrupted after step 2 of 3" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    monkeypatch.undo()
    with (tmp_path / "run" / "losses.jsonl").open("a") as lines:
        lines.write('{"step": 3, "total": 0}\n')  # written before a kill, but after the state
    assert finetune(*command, "--dry-run") == 0
    assert "goes on after step 2" in capsys.readouterr().out
    assert finetune(*command, "scratch.base_lr=1") == 2
    assert "holds a run with another scratch.base_lr" in capsys.readouterr().err
    assert finetune(*command) == 0
    assert curve(tmp_path / "run") == pytest.approx(curve(whole), rel=1e-4)
    found = weights(tmp_path / "run")
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)


def test_it_does_not_go_on_with_other_volumes(finetune, settings, data, tmp_path, capsys):
    """The same command, but the list names others, or a mask was corrected."""
    run, lists = tmp_path / "run", tmp_path / "list.txt"
    shutil.copytree(data, tmp_path / "data")
    lists.write_text("v0\nv1\n")
    places = [f"dataset.{key}={tmp_path / 'data' / name}" for key, name in FOLDERS.items()]
    command = settings(run, f"dataset.file_list_txt={lists}", *places, "trainer.max_epochs=1")
    assert finetune(*command) == 0
    kept = (run / "checkpoints" / "checkpoint.pt").read_bytes()
    assert read_checkpoint(run / "checkpoints" / "checkpoint.pt").trained["steps"] == 1
    assert finetune(*command, "--dry-run") == 0
    assert "goes on after step 1" in capsys.readouterr().out

    def refused():
        for more in ([], ["--dry-run"]):
            assert finetune(*command, *more) == 2
            assert (
                "a run with another dataset.volumes (a list of volumes, or their files)"
                in capsys.readouterr().err
            )
        assert (run / "checkpoints" / "checkpoint.pt").read_bytes() == kept

    lists.write_text("v2\nv1\n")
    refused()
    lists.write_text("v0\nv1\n")
    assert finetune(*command) == 0
    kept = (run / "checkpoints" / "checkpoint.pt").read_bytes()
    mask = tmp_path / "data" / "masks" / "v1" / "00005.png"
    Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    refused()


def test_a_damaged_state_gets_a_sentence(finetune, settings, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "run")
    state = tmp_path / "run" / "checkpoints" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    for more in ([], ["--dry-run"]):
        assert finetune(*settings(tmp_path / "run"), *more) == 2
        assert "state.pt' is damaged or no state of such a run" in capsys.readouterr().err


def test_two_processes_give_what_one_gives(settings, whole, model_dir, tmp_path):
    command = [sys.executable, SCRIPT, *settings(tmp_path / "run"), "--num-gpus", 2, "--model-dir", model_dir]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert curve(tmp_path / "run") == pytest.approx(curve(whole), rel=0.02)


def test_as_a_job_it_gives_the_same(settings, whole, model_dir, tmp_path):
    config = read_configuration(DEFAULT, settings(tmp_path / "run", "submitit.cluster=local"))
    job = submit(config, model_dir)
    assert job.result() == str(tmp_path / "run")
    assert curve(tmp_path / "run") == pytest.approx(curve(whole), rel=0.02)
    config.submitit.cluster = "nowhere"
    with pytest.raises(finetuning.ConfigurationError, match="cluster 'nowhere' does not take the job"):
        submit(config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["dataset.img_folder=null"], "dataset.img_folder is not set"),
        (["dataset.file_list_txt=/nowhere.txt"], "'/nowhere.txt' cannot be read"),
        (["dataset.gt_folder=/nowhere"], "no folder '/nowhere'"),
        (["model.checkpoint=/nowhere.pt"], "no weights file /nowhere.pt"),
        (["model.name=slm_sam2_hiera_x"], "slm_sam2_hiera_x"),
        (["--num-gpus", "0"], "must be at least 1"),
        (["--num-gpus", "2", "dataset.gt_folder=/nowhere"], "no folder '/nowhere'"),
        (["--use-cluster", "1", "model.checkpoint=/nowhere.pt"], "no weights file /nowhere.pt"),
        (["--num-nodes", "2"], "--use-cluster 1"),
        (["-c", "nothing"], "no configuration 'nothing'"),
    ],
)
def test_what_cannot_be_done_gets_a_sentence(finetune, settings, tmp_path, capsys, changes, words):
    assert finetune(*settings(tmp_path / "run"), *changes) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert words in told[0]


def test_corrections_from_the_reference(network, frames, monkeypatch):
    """All of them: as if nothing had been found."""
    seen, real = [], clip_module.with_correction

    def recorded(points, found, masks, generator):
        seen.append(bool(found.any()))
        return real(points, found, masks, generator)

    monkeypatch.setattr(clip_module, "with_correction", recorded)
    masks = torch.zeros(1, 1, 2, 64, 64, dtype=torch.bool)
    masks[..., 20:40, 20:40] = True
    encoded = encode_clips(network, frames[None, :2])
    for share in (1.0, 0.0):
        plan = PromptPlan("point", {0: 3}, from_reference=share)
        run_clip(network, encoded, masks, plan, torch.Generator().manual_seed(0))
    assert seen[:3] == [False, False, False]
    assert any(seen[3:])


def test_run_json_tells_the_settings(whole):
    kept = json.loads((whole / "run.json").read_text())
    assert kept["scratch"]["base_lr"] == 4e-4
    assert kept["clips_per_step"] == 2
    assert "launcher" not in kept
    assert OmegaConf.create(kept).dataset.multiplier == 1
