"""Learning from submitted labels: from files to a version in use, or to a reason why not."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from slmsam2.errors import ConfigurationError
from slmsam2.modeling import build_model, checkpoint_path, load_config, read_checkpoint
from slmsam2.training import labelled, lessons, loop
from slmsam2.training import learn as module
from slmsam2.training.finetune import FineTuner
from slmsam2.training.judgement import judge
from slmsam2.training.labelled import Submission
from slmsam2.training.learn import Request, learn
from slmsam2.training.loop import TrainingLoop
from slmsam2.training.registry import Registry
from small_model import MODEL, write_small_model

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def model_dir(tmp_path):
    """A small network, and short presets."""
    folder = tmp_path / "model"
    write_small_model(folder)
    for name in ("fast", "full"):
        preset = load_config(f"learn_{name}")
        preset.slices, preset.tasks, preset.evaluations = 4, 2, 2
        OmegaConf.save(preset, folder / "configs" / f"learn_{name}.yaml")
    return folder


@pytest.fixture
def request_(model_dir):
    return Request(MODEL, model_dir, preset="fast", steps=4)


def submission(folder, name, centre=(16, 14), names=None, slices=10):
    """A bright rod in noise, on 6 of the slices."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, name)))
    label = np.zeros((32, 30, slices), np.uint8)
    i, j = np.indices(label.shape[:2])
    for k in range(min(2, slices - 1), min(8, slices)):
        radius = 3 + 1.5 * np.sin(np.pi * (k - 1) / 7)
        label[..., k] = (i - centre[0]) ** 2 + (j - centre[1] - 0.3 * k) ** 2 <= radius**2
    image = (rng.normal(100, 10, label.shape) + 150 * label).astype(np.float32)
    paths = [folder / f"{name}_{kind}.nii.gz" for kind in ("image", "label")]
    for path, array in zip(paths, (image, label), strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return Submission(name, *paths, names or {"rod": 1})


@pytest.fixture
def always(monkeypatch):
    """Make the verdict what the test says, whatever was measured."""

    def set_to(publish):
        monkeypatch.setattr(module, "judge", lambda *args: replace(judge(*args), publish=publish))

    return set_to


def test_learns_publishes_and_has_nothing_new_then(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    figures = learn(labels, request_)
    assert figures["published"] is True
    assert (figures["epoch"], figures["total_epochs"]) == (20, 20)
    assert figures["total_time"]
    assert 0 <= figures["best_metric"] <= 1
    assert figures["eval"]["structures"].keys() == {"rod"}
    registry = Registry(MODEL, model_dir)
    assert registry.published.version == "learned-1"
    assert set(registry.seen) == {"a", "b", "c"}
    assert sum(registry.held_back.values()) == 1
    kept = read_checkpoint(checkpoint_path(MODEL, model_dir))
    assert kept.version == "learned-1"
    assert kept.trained["labels"] == registry.seen
    held_back = {name for name, held in registry.held_back.items() if held}
    assert set(kept.trained["looks_of"]) == {"a", "b", "c"} - held_back
    assert kept.looks.keys() == {"rod"}
    assert not (registry.folder / "run").exists()
    assert json.loads((registry.folder / "train_stats.json").read_text()) == figures
    assert list((registry.folder / "tensorboard").rglob("events*"))

    again = learn(labels, request_)
    assert again["published"] is False
    assert again["message"].startswith("Nothing new: all 3")
    assert again["total_time"]
    assert len(list((registry.folder / "tensorboard").iterdir())) == 1


def test_only_what_may_learn_has_changed(request_, model_dir, tmp_path, always):
    always(True)
    learn([submission(tmp_path / "data", name) for name in "abc"], request_)
    start = read_checkpoint(model_dir / "checkpoints" / f"{MODEL}.pt").weights
    learnt = read_checkpoint(checkpoint_path(MODEL, model_dir)).weights
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], learnt[name])}
    assert "image_encoder" not in changed
    assert {
        "memory_attention",
        "recent_memory_attention",
        "recent_memory_fuser",
        "sam_mask_decoder",
    } <= changed
    assert torch.equal(start["sam_mask_decoder.conv_s0.weight"], learnt["sam_mask_decoder.conv_s0.weight"])


def test_all_parts_learn_with_the_full_preset(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    learn(labels, replace(request_, preset="full", steps=2))
    start = read_checkpoint(model_dir / "checkpoints" / f"{MODEL}.pt").weights
    learnt = read_checkpoint(checkpoint_path(MODEL, model_dir)).weights
    assert not torch.equal(
        start["image_encoder.trunk.patch_embed.proj.weight"],
        learnt["image_encoder.trunk.patch_embed.proj.weight"],
    )


def test_what_the_model_could_do_in_general_is_not_given_up(request_, model_dir, tmp_path, monkeypatch):
    """Better on what is held back, but worse in synthetic volumes by more than half of that: now or in steps."""
    config = model_dir / "configs" / "learn_fast.yaml"
    preset = OmegaConf.load(config)
    preset.synthetic_tasks, preset.evaluations = 3, 1
    OmegaConf.save(preset, config)
    labels = [submission(tmp_path / "data", name) for name in "abcdef"]

    def train(count, held_back, synthetic):
        """Each as (before, after); ``synthetic`` without before where a version knows it."""
        found = {True: iter(held_back), False: iter(synthetic)}
        monkeypatch.setattr(
            TrainingLoop, "_dice", lambda self, _, tasks: [next(found[tasks is self.tasks])] * len(tasks)
        )
        if not synthetic:
            found[False] = iter(lambda: None, 0)  # of no volumes
        figures = learn(labels[:count], request_)
        assert not synthetic or [*found[True], *found[False]] == []
        return figures

    lost = train(3, (0.5, 0.7), (0.8, 0.68))
    assert not lost["published"]
    assert "in synthetic volumes it lost: 0.680, where the model had 0.800" in lost["message"]
    kept = train(3, (0.5, 0.7), (0.8, 0.785))
    assert kept["published"]
    assert kept["eval"]["general"] == [[0.8] * 3, [0.785] * 3]
    assert not train(4, (0.7, 0.72), (0.77,))["published"]
    assert train(4, (0.7, 0.8), (0.77,))["published"]
    preset.synthetic_tasks = 0  # a version that knows nothing of them does not make the next one start anew
    OmegaConf.save(preset, config)
    assert train(5, (0.8, 0.82), ())["published"]
    preset.synthetic_tasks = 3
    OmegaConf.save(preset, config)
    lost = train(6, (0.8, 0.82), (0.755,))
    assert not lost["published"]
    assert lost["eval"]["general"] == [[0.8] * 3, [0.755] * 3]


def test_what_is_worse_is_not_published(request_, model_dir, tmp_path, monkeypatch):
    """Weights ruined by an absurd rate must not come into use."""
    config = model_dir / "configs" / f"{MODEL}.yaml"
    ruined = OmegaConf.load(config)
    ruined.learning.rates.fast = 50.0
    OmegaConf.save(ruined, config)
    found = iter([[0.8, 0.7], [0.1, 0.2], [0.0, 0.1]])
    guarded = lambda tasks: [0.8] * len(tasks)  # noqa: E731
    monkeypatch.setattr(
        TrainingLoop,
        "_dice",
        lambda self, network, tasks: next(found)[: len(tasks)] if tasks is self.tasks else guarded(tasks),
    )
    figures = learn([submission(tmp_path / "data", name) for name in "abc"], request_)
    assert figures["published"] is False
    assert "worse" in figures["message"]
    assert figures["best_metric"] >= 0.75
    assert Registry(MODEL, model_dir).published is None
    assert checkpoint_path(MODEL, model_dir).name == f"{MODEL}.pt"


def test_changed_and_deleted_labels(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abcd"]
    learn(labels, request_)
    held = next(name for name, is_held in Registry(MODEL, model_dir).held_back.items() if is_held)
    changed = next(i for i, one in enumerate(labels) if one.image_id != held)
    gone = next(i for i, one in enumerate(labels) if one.image_id != held and i != changed)
    labels[changed] = submission(tmp_path / "data", labels[changed].image_id, centre=(14, 10))
    removed = labels.pop(gone)
    figures = learn(labels, request_)
    assert figures["published"]
    registry = Registry(MODEL, model_dir)
    assert removed.image_id not in registry.seen
    assert registry.held_back[removed.image_id] is False  # it may come back
    assert registry.published.parent == "learned-1"


def test_too_little_to_judge_by(request_, model_dir, tmp_path):
    one_slice = submission(tmp_path / "data", "thin", slices=1)
    figures = learn([one_slice], request_)
    assert figures["published"] is False
    assert "too few labelled slices" in figures["message"]
    message = learn([], request_)[
        "message"
    ]  # a server may have labels, all of them flagged or none of them approved
    assert message.startswith("There is no submitted label")
    assert "Flagged labels do not count" in message
    one_slice.label.write_bytes(b"not a label")
    assert learn([one_slice], request_)["message"].startswith(
        "None of the submitted labels can be learnt from. 1 label was left out; that of thin: "
    )


def test_a_volume_of_one_slice_beside_others(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    figures = learn([*labels, submission(tmp_path / "data", "thin", slices=1)], request_)
    assert figures["labels"] == 4


def test_a_damaged_label_does_not_stop_the_others(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abcd"]
    labels[0].label.write_bytes(b"not a label")
    figures = learn(labels, request_)
    assert figures["published"]
    assert set(figures["unusable_labels"]) == {"a"}
    assert " 1 label was left out; that of a: " in figures["message"]
    assert " 1 label was left out; that of a: " in learn(labels, request_)["message"]  # nothing is new


def test_it_learns_from_the_labels_it_began_with(request_, model_dir, tmp_path, always, monkeypatch):
    """Two are deleted, and the others saved again with the rod elsewhere, while it trains."""
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abcd"]
    begun, shown, step = [one.stamp for one in labels], [], FineTuner.train_step
    make = lessons.make_view

    def change(tuner):
        if tuner.step == 1:
            labels[0].label.unlink()
            labels[1].label.unlink()
            submission(tmp_path / "data", "c", centre=(6, 6))
            submission(tmp_path / "data", "d", centre=(6, 6))
        return step(tuner)

    def look(case, main, loaded, **how):
        shown.append(np.argwhere(loaded[1] == main.value).mean(axis=0)[0])
        return make(case, main, loaded, **how)

    monkeypatch.setattr(FineTuner, "train_step", change)
    monkeypatch.setattr(lessons, "make_view", look)
    monkeypatch.setattr(labelled, "KEPT_VOLUMES", 0)  # of many volumes few stay in memory
    assert learn(labels, request_)["published"]
    assert len(shown) > 1
    assert shown == pytest.approx([16] * len(shown), abs=0.5)
    assert list(Registry(MODEL, model_dir).given.values()) == begun


def test_the_steps_are_fitted_into_the_time(request_, model_dir, tmp_path, always):
    always(True)
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    figures = learn(labels, replace(request_, steps=5000, minutes=0.1))
    assert figures["published"]
    steps = Registry(MODEL, model_dir).published.settings["steps"]
    assert steps < 1000
    assert (
        f"There was time for {steps} of 5000 steps: give the next training more minutes."
        in figures["message"]
    )


def test_a_training_with_time_for_its_steps_asks_for_no_more(request_, tmp_path, always):
    always(True)
    figures = learn([submission(tmp_path / "data", name) for name in "abc"], request_)
    assert "minutes" not in figures["message"]


def test_an_unknown_preset_is_refused(request_, tmp_path):
    with pytest.raises(ConfigurationError, match="choose small, fast, full"):
        learn([submission(tmp_path / "data", "a")], replace(request_, preset="quick"))


def losses_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curve = {}
    for events in sorted(folder.rglob("events*")):
        reader = EventAccumulator(str(events))
        reader.Reload()
        if "loss/total" in reader.Tags()["scalars"]:
            curve |= {e.step: e.value for e in reader.Scalars("loss/total")}
    return [curve[step] for step in sorted(curve)]


PROGRAM = """
import dataclasses, json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from slmsam2.training import learn as module
from slmsam2.training import loop
from slmsam2.training.labelled import Submission
from slmsam2.training.workers import Workers
loop.SAVE_SECONDS = 0.0
module.has_bfloat16 = lambda device: False
PLACES = {
    "weights": (module, "save_checkpoint"),
    "registry": (module.Registry, "save"),
    "link": (module.Registry, "use"),
}
if sys.argv[4] != "-":  # publish whatever comes out, and end at the given place on the way
    judged = module.judge
    def end(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    def always(*args):
        if sys.argv[4] in PLACES:
            setattr(*PLACES[sys.argv[4]], end)
        return dataclasses.replace(judged(*args), publish=True)
    module.judge = always
labels = [Submission(name, Path(image), Path(label), {"rod": 1}) for name, image, label in json.loads(sys.argv[2])]
request = module.Request("small", Path(sys.argv[1]), preset="fast", steps=int(sys.argv[3]))
workers = Workers.join("cpu")
module.learn(labels, request, workers)
workers.leave()
"""


@pytest.fixture
def program(tmp_path):
    """Starts a training in a process of its own: program(model_dir, labels, steps, processes, killed_at)."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def start(model_dir, labels, steps, processes=1, killed_at="-"):
        listed = json.dumps([[one.image_id, str(one.image), str(one.label)] for one in labels])
        launcher = (
            ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)] if processes > 1 else []
        )
        env = dict(os.environ, PYTHONPATH=str(REPOSITORY / "lib"), OMP_NUM_THREADS="1")
        return subprocess.Popen(
            [sys.executable, *launcher, str(script), str(model_dir), listed, str(steps), killed_at],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def finished(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def spoil_plan(registry):
    registry.plan_path.write_text('{"version": "lear')


def write_plan_of_another_release(registry):
    plan = json.loads(registry.plan_path.read_text())
    registry.plan_path.write_text(json.dumps({**plan, "unknown": 1}))


def spoil_state(registry):
    registry.plan_path.with_name("state.pt").write_bytes(b"PK\x03\x04 half")


def replace_the_weights_it_starts_from(registry):
    path = checkpoint_path(MODEL, registry.model_dir)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "another": "release"}, path)


@pytest.mark.parametrize(
    ("spoil", "begun"),
    [
        (lambda registry: None, 1),
        (spoil_plan, 2),
        (write_plan_of_another_release, 2),
        (spoil_state, 1),
        (replace_the_weights_it_starts_from, 2),
    ],
)
def test_a_training_that_was_ended_and_cannot_go_on_does_not_block_the_next(
    request_, model_dir, tmp_path, monkeypatch, spoil, begun
):
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    with monkeypatch.context() as ended:
        ended.setattr(module, "_figures", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(labels, request_)
    registry = Registry(MODEL, model_dir)
    assert registry.plan_path.with_name("state.pt").is_file()
    spoil(registry)
    figures = learn(labels, request_)
    assert figures["version"] == f"learned-{begun}"
    assert Registry(MODEL, model_dir).count == begun
    assert not registry.plan_path.exists()
    assert Registry(MODEL, model_dir).given.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("asked", "begun"),
    [
        ({}, 1),
        ({"preset": None, "steps": None}, 1),
        ({"steps": 3}, 2),
        ({"preset": "full"}, 2),
    ],
)
def test_what_is_asked_for_counts_also_where_a_training_was_ended(
    request_, model_dir, tmp_path, monkeypatch, caplog, asked, begun
):
    caplog.set_level("INFO")
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    with monkeypatch.context() as ended:
        ended.setattr(module, "_figures", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            learn(labels, request_)
    assert learn(labels, replace(request_, **asked))["version"] == f"learned-{begun}"
    assert ("(fast, 4 steps) is not gone on with" in caplog.text) is (begun == 2)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "as the disk is full. The weights in use stay."),
        (OSError(errno.EIO, "Input/output error"), "as a file could not be read or written: [Errno 5] Input"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "as the memory does not suffice",
        ),
        (MemoryError(), "as the memory does not suffice. The weights in use stay."),
        (RuntimeError("cuDNN error"), "by an error: cuDNN error. The weights in use stay."),
    ],
)
def test_a_training_that_is_broken_off_says_why(request_, model_dir, tmp_path, monkeypatch, error, told):
    def save_state(path, state):
        raise error

    monkeypatch.setattr(loop, "save_state", save_state)
    with pytest.raises(type(error)):
        learn([submission(tmp_path / "data", name) for name in "abc"], replace(request_, steps=1))
    figures = json.loads((Registry(MODEL, model_dir).folder / "train_stats.json").read_text())
    assert figures["status"] == "finished"
    assert told in figures["message"]


def test_two_processes_train_as_one(program, model_dir, tmp_path):
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    other = tmp_path / "other"
    shutil.copytree(model_dir, other)
    single, double = program(model_dir, labels, 5), program(other, labels, 5, processes=2)
    finished(single)
    finished(double)
    one, two = (losses_of(Registry(MODEL, folder).folder) for folder in (model_dir, other))
    assert len(one) == 5
    assert two == pytest.approx(one, rel=0.02)


KILLS = int(
    os.environ.get("SLMSAM2_KILLS", "3")
)  # more of them: SLMSAM2_KILLS=20 bash scripts/test.sh -k killed


def test_killed_at_any_moment_a_valid_model_stays_and_the_next_run_goes_on(program, model_dir, tmp_path):
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    reference = tmp_path / "reference"
    shutil.copytree(model_dir, reference)
    started = time.monotonic()
    finished(program(reference, labels, 8))
    duration = time.monotonic() - started
    rng = np.random.default_rng(0)
    folder = Registry(MODEL, model_dir).folder
    for _ in range(KILLS):
        process = program(model_dir, labels, 8)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(duration * rng.uniform(0.3, 1.0))
        process.kill()
        process.communicate()
        build_model(MODEL, checkpoint=checkpoint_path(MODEL, model_dir), model_dir=model_dir)
    output = finished(program(model_dir, labels, 8))
    assert "Error" not in output
    whole = losses_of(Registry(MODEL, reference).folder)
    assert losses_of(folder) == pytest.approx(whole, rel=0.02)  # a click may fall on the next pixel
    assert not (folder / "run").exists()
    assert Registry(MODEL, model_dir).count == 1  # one training, however often it was ended


@pytest.mark.parametrize("moment", ["weights", "registry", "link"])
def test_killed_while_publishing(program, model_dir, tmp_path, moment):
    labels = [submission(tmp_path / "data", name) for name in "abc"]
    process = program(model_dir, labels, 2, killed_at=moment)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    path = checkpoint_path(MODEL, model_dir)
    assert path.name == f"{MODEL}.pt"  # nothing is published yet, and what was in use still is
    build_model(MODEL, checkpoint=path, model_dir=model_dir)
    finished(program(model_dir, labels, 2, killed_at="never"))
    assert Registry(MODEL, model_dir).published.version == "learned-1"
