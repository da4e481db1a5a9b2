"""Training of the network that draws outlines: learns, gives the same twice, and resumes to the same result."""

import json
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
from slmsam2.modeling.outliner import Hints, read_outliner, seen_with
from slmsam2.training.outliner import OutlinerTrainer

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_outliner.py"


def settings(steps, **others):
    """The usual ones for a short run on made-up shapes."""
    short = {"steps": steps, "slices": 4, "mapped": 0, "warmup": 2, "average": 0.5, "save_every": 4}
    return OmegaConf.merge(load_config("outliner"), short, others)


def trained(config, until=None, state=None):
    """A trainer after its run, and the losses of each step."""
    trainer = OutlinerTrainer(config, torch.device("cpu"))
    if state is not None:
        trainer.resume(state)
    seen = []
    trainer.run(lambda _, losses: seen.append(losses["dice"]), until=lambda: len(seen) == until)
    return trainer, seen


def test_loss_falls():
    _, losses = trained(settings(40, final_learning_rate=1e-3))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1


def test_same_seed_same_curve_and_resuming_goes_on_with_it(tmp_path):
    _, whole = trained(settings(6))
    part, first = trained(settings(6), until=3)
    part.save(tmp_path / "state.pt")
    _, rest = trained(settings(6), state=tmp_path / "state.pt")
    assert [*first, *rest] == whole
    with pytest.raises(CheckpointError, match="other length"):
        trained(settings(7), state=tmp_path / "state.pt")


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"clicks": 2},
        {"slices": 8},
        {"marks": {"click": 0.5}},
        {"anatomy": {"least_share": 0.002}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_run_that_would_see_other_slices_is_not_gone_on_with(tmp_path, other):
    begun = OutlinerTrainer(settings(6), torch.device("cpu"))
    begun.save(tmp_path / "state.pt")
    changed = OutlinerTrainer(settings(6, **other), torch.device("cpu"))
    with pytest.raises(CheckpointError, match=f"other settings for {next(iter(other))}; choose"):
        changed.resume(tmp_path / "state.pt")
    OutlinerTrainer(settings(6, learning_rate=1e-4), torch.device("cpu")).resume(tmp_path / "state.pt")


def test_a_run_that_did_not_say_what_it_saw_is_gone_on_with(tmp_path):
    begun = OutlinerTrainer(settings(6), torch.device("cpu"))
    begun.save(tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["shown"]
    torch.save(state | {"step": 4}, tmp_path / "state.pt")
    begun.resume(tmp_path / "state.pt")
    assert begun.step == 4


def test_label_maps_are_learnt_from(tmp_path):
    (tmp_path / "maps" / "kind").mkdir(parents=True)
    labels = np.zeros((40, 40, 40), np.uint16)
    labels[10:30, 8:32, 12:28] = 3
    np.savez(
        tmp_path / "maps" / "kind" / "one.npz",
        labels=labels,
        spacing=np.ones(3),
        structures=np.array([3]),
        boxes=np.array([[[10, 30], [8, 32], [12, 28]]]),
    )
    _, losses = trained(settings(2, mapped=2, label_maps=str(tmp_path / "maps")))
    assert np.isfinite(losses).all()


def test_the_command_stops_resumes_and_writes_weights_to_use(tmp_path):
    OmegaConf.save(settings(5), tmp_path / "short.yaml")
    command = [
        sys.executable,
        SCRIPT,
        "--config",
        tmp_path / "short.yaml",
        "--output",
        tmp_path,
        "--threads",
        "1",
    ]
    subprocess.run([*command, "--minutes", "0.001"], check=True, capture_output=True)
    begun = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert 0 < len(begun) < 5
    subprocess.run(command, check=True, capture_output=True)
    steps = [json.loads(line)["step"] for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert steps == list(range(5))
    network = read_outliner(tmp_path / "outliner.pt")
    assert network.info["version"] == "outliner-5"
    assert network.info["trained"]["steps"] == 5
    click = Hints(torch.full((1, 1, 2), 64.5), torch.ones(1, 1, dtype=torch.bool))
    assert network(seen_with(torch.rand(1, 128, 128), click)).isfinite().all()


def test_a_run_goes_on_from_weights_of_another(tmp_path):
    OmegaConf.save(settings(2), tmp_path / "first.yaml")
    command = [sys.executable, SCRIPT, "--threads", "1", "--output"]
    subprocess.run(
        [*command, tmp_path / "one", "--config", tmp_path / "first.yaml"], check=True, capture_output=True
    )
    weights = tmp_path / "one" / "outliner.pt"
    OmegaConf.save(settings(1, start=str(weights), learning_rate=0.0, kept=0.5), tmp_path / "second.yaml")
    subprocess.run(
        [*command, tmp_path / "two", "--config", tmp_path / "second.yaml"], check=True, capture_output=True
    )
    first, second = read_outliner(weights), read_outliner(tmp_path / "two" / "outliner.pt")
    torch.testing.assert_close(second.head.weight, first.head.weight, rtol=1e-2, atol=1e-3)
    assert second.info["version"] == "outliner-3"
    assert second.info["trained"]["before"] == first.info["trained"]


def test_a_share_of_the_weights_it_began_with_is_kept():
    halves, _ = trained(settings(2, kept=0.5))
    begun = OutlinerTrainer(settings(2), torch.device("cpu")).average.state_dict()
    for name, weight in halves.result().state_dict().items():
        if weight.is_floating_point():
            torch.testing.assert_close(weight, (begun[name] + halves.average.state_dict()[name]) / 2)
    assert not torch.equal(halves.result().head.weight, halves.average.head.weight)
    everything, _ = trained(settings(2))
    torch.testing.assert_close(everything.result().head.weight, everything.average.head.weight)


def test_without_label_maps_a_sentence(tmp_path):
    OmegaConf.save(settings(5, mapped=2, label_maps=str(tmp_path / "none")), tmp_path / "short.yaml")
    command = [sys.executable, SCRIPT, "--config", tmp_path / "short.yaml", "--output", tmp_path]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert "scripts/label_maps.py" in run.stderr
    assert "Traceback" not in run.stderr


def test_stopped_at_any_step_it_goes_on_from_there(tmp_path, monkeypatch, capsys, request):
    OmegaConf.save(settings(5, save_every=50), tmp_path / "short.yaml")
    interrupt(SCRIPT, OutlinerTrainer, tmp_path / "short.yaml", 5, monkeypatch, capsys, request)
