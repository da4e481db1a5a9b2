"""Which weights a training ends with."""

import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from slmsam2.errors import CheckpointError, RunCancelledError
from slmsam2.training.loop import TrainingLoop
from slmsam2.training.workers import Workers

pytestmark = pytest.mark.unit
START, END = 0.0, 1.0  # the one weight there is, before and after training


class Tuner:
    """A network of one weight, which is at END after each step."""

    def __init__(self, shares, evaluations=1, steps=4):
        self.preset = SimpleNamespace(shares=shares, evaluations=evaluations)
        self.workers = Workers(0, 1, torch.device("cpu"))
        self.step, self.steps = 0, steps
        self.network = SimpleNamespace(weight=START)

    def train_step(self):
        self.step += 1
        return {"total": 1.0}

    def between(self, share):
        return [torch.tensor(START + share * (END - START))]

    @contextmanager
    def having(self, weights):
        yield SimpleNamespace(weight=float(weights[0]))

    def use(self, weights):
        self.network.weight = float(weights[0])

    def state(self):
        return {"step": self.step}

    def resume(self, state):
        self.step = state["step"]


def trained(tmp_path, held_back, guarded=None, shares=(0.5, 1.0), **options):
    """Weight that is left, and the record; ``held_back`` and ``guarded`` give the Dice of a weight."""
    tasks = [SimpleNamespace(name="liver", dice=held_back)]
    guards = [SimpleNamespace(name="synthetic", dice=guarded)] if guarded else []
    loop = TrainingLoop(
        Tuner(shares),
        tasks,
        tmp_path / "state.pt",
        float("inf"),
        None,
        guards=guards,
        **{
            "measure": lambda task, network: task.dice(network.weight),
            "usable": lambda before, after, old, new: new >= old,
            **options,
        },
    )
    record = loop.run()
    return loop.tuner.network.weight, record


@pytest.mark.parametrize(("best", "weight"), [(0.4, 0.5), (0.9, 1.0)])
def test_the_share_that_is_best_on_what_is_held_back_counts(tmp_path, best, weight):
    found, record = trained(tmp_path, lambda at: 1 - abs(at - best))
    assert found == weight
    assert record.before == pytest.approx([1 - best])
    assert record.after == pytest.approx([1 - abs(weight - best)])


def test_a_share_that_loses_what_is_guarded_gives_way_to_one_that_does_not(tmp_path):
    found, record = trained(tmp_path, held_back=lambda at: at, guarded=lambda at: 0.8 if at < 0.7 else 0.3)
    assert found == 0.5
    assert (record.guards_before, record.guards_after) == ([0.8], [0.8])


def test_where_each_loses_the_best_is_kept_for_the_verdict(tmp_path):
    found, record = trained(tmp_path, held_back=lambda at: at, guarded=lambda at: 0.8 - at)
    assert found == 1.0
    assert record.guards_after == pytest.approx([-0.2])


def test_guards_may_be_compared_with_what_was_known_before(tmp_path):
    """With 0.8 from long ago, 0.7 is a loss, though it is what the weights it starts from have."""
    known = {"guards_before": [0.8]}
    found, record = trained(tmp_path, lambda at: at, lambda at: 0.8 if at == 0.5 else 0.7, **known)
    assert found == 0.5
    assert record.guards_before == [0.8]


def test_new_weights_are_compared_with_those_in_use_prepared_alike(tmp_path):
    """At 0.5 the weights alone gain 0.2; what is prepared gains 0.3 at the start, and nothing elsewhere."""
    prepared = []

    def prepare(network):
        prepared.append(network.weight)
        network.known = True

    def measure(task, network):
        known = 0.3 if getattr(network, "known", False) and network.weight == START else 0.0
        return 0.5 + known - 0.4 * abs(network.weight - 0.5)

    found, record = trained(tmp_path, None, prepare=prepare, measure=measure)
    assert record.before == pytest.approx([0.6])
    assert record.after == pytest.approx([0.5])
    assert found == 0.5
    assert prepared == [START, 0.5, END, 0.5]


def test_steps_are_fitted_into_the_time_again_when_they_take_longer(tmp_path, monkeypatch):
    """100 s for 100 steps of 0.1 s each, that take 5 s from the 20th on; judging takes 10 s."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tuner = Tuner((0.5, 1.0), steps=100)
    step = tuner.train_step

    def train_step():
        clock[0] += 0.1 if tuner.step < 20 else 5.0
        return step()

    def measure(task, network):
        clock[0] += 10.0
        return network.weight

    tuner.train_step = train_step
    state = tmp_path / "state.pt"
    loop = TrainingLoop(tuner, [SimpleNamespace(name="liver")], state, 100.0, None, measure=measure)
    record = loop.run()
    assert tuner.step == tuner.steps < 40
    assert record.after == [1.0]
    assert clock[0] <= 105.0


def test_a_training_that_is_gone_on_with_keeps_time_for_the_judgement(tmp_path, monkeypatch):
    """Which takes 10 s, of 30; a step takes 1 s. It was ended before it had judged anything but the weights in use."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def measure(task, network):
        clock[0] += 10.0
        return network.weight

    def loop(steps):
        tuner = Tuner((1.0,), steps=100)
        step = tuner.train_step

        def train_step():
            clock[0] += 1.0
            return step()

        tuner.train_step = train_step
        options = {"measure": measure, "interrupted": lambda: tuner.step == steps}
        return TrainingLoop(
            tuner, [SimpleNamespace(name="liver")], tmp_path / "state.pt", 30.0, None, **options
        )

    with pytest.raises(RunCancelledError):
        loop(steps=2).run()
    clock[0] = 0.0
    assert loop(steps=None).run().after == [1.0]
    assert clock[0] <= 30.0


def test_what_is_left_is_told_within_the_time_there_is(tmp_path, monkeypatch):
    """100 steps of 5 s each in 60 s: the first one would say 495 s."""
    clock, told = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tuner = Tuner((1.0,), steps=100)
    step = tuner.train_step

    def train_step():
        clock[0] += 5.0
        return step()

    tuner.train_step = train_step
    watcher = SimpleNamespace(
        losses=lambda step, steps, losses, seconds_left: told.append((clock[0], seconds_left)),
        evaluation=lambda *facts: None,
    )
    tasks = [SimpleNamespace(name="liver")]
    TrainingLoop(tuner, tasks, tmp_path / "state.pt", 60.0, watcher, measure=lambda *task: 1.0).run()
    assert told[0] == (5.0, 55.0)
    assert len(told) > 3
    assert all(0 <= left <= max(60.0 - now, 0) for now, left in told)


def test_the_record_is_gone_on_with(tmp_path):
    _, first = trained(tmp_path, lambda at: at, guarded=lambda at: 0.5)
    found, second = trained(tmp_path, lambda at: pytest.fail("judged again"), guarded=lambda at: 0.5)
    assert found == 1.0
    assert vars(second) == vars(first)


def test_weights_that_may_not_come_into_use_give_way_to_worse_ones_that_may(tmp_path):
    seen = []

    def usable(before, after, guards_before, guards_after):
        seen.append((before, after))
        return after[0] < 0.7

    found, _ = trained(tmp_path, held_back=lambda at: at, usable=usable)
    assert found == 0.5
    assert all(before == [0.0] for before, _ in seen)


@pytest.mark.parametrize("state", [b"PK\x03\x04 half", b"", {"tuner": {"step": 1}}, {"record": {"other": 1}}])
def test_a_state_that_cannot_be_used_does_not_stop_the_training(tmp_path, state, caplog):
    if isinstance(state, bytes):
        (tmp_path / "state.pt").write_bytes(state)
    else:
        torch.save(state, tmp_path / "state.pt")
    with pytest.raises(CheckpointError):
        trained(tmp_path, lambda at: at)
    found, record = trained(tmp_path, lambda at: at, begin_anew=True)
    assert found == END
    assert len(record.before) == 1
    assert "begins anew" in caplog.text
