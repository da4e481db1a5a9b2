"""Whose turn it is among inferences that wait, and how many may."""

import threading
import time

import pytest
from fastapi import HTTPException

from slmsam2.errors import RunCancelledError, TimeUpError
from slmsam2.server.routes import monitoring
from slmsam2.server.running.line import Line, Turns
from slmsam2.server.running.runs import Run

pytestmark = pytest.mark.unit


class Waiters:
    """Requests that ask one after the other while the device is busy; the order in which they then get it."""

    def __init__(self):
        self.now, self.order, self.threads = 0.0, [], []
        self.turns = Turns(lambda: self.now)

    def ask(self, name, client, *, short=False, after=1.0, run=None):
        self.now += after

        def work():
            try:
                with self.turns.take(run or Run(), client, short=short):
                    self.order.append(name)
            except RunCancelledError:
                self.order.append(f"{name} cancelled")
            except TimeUpError:
                self.order.append(f"{name} too late")

        self.threads.append(threading.Thread(target=work))
        expected = len(self.turns._waiting) + 1
        self.threads[-1].start()
        while len(self.turns._waiting) < expected:
            time.sleep(0.001)

    def finish(self):
        for thread in self.threads:
            thread.join(10)
        return self.order


@pytest.fixture
def waiters():
    return Waiters()


def test_first_come_first_served(waiters):
    with waiters.turns.take(Run(), "first", short=False):
        for name in "abc":
            waiters.ask(name, name)
    assert waiters.finish() == ["a", "b", "c"]


def test_each_that_waits_knows_how_many_are_before_it(waiters):
    runs = {name: Run() for name in ("first", "volume", "slice", "last")}
    with waiters.turns.take(runs["first"], "first", short=False):
        waiters.ask("volume", "a", run=runs["volume"])
        waiters.ask("last", "b", run=runs["last"])
        waiters.ask("slice", "c", short=True, run=runs["slice"])
        expected = {"first": 0, "slice": 1, "volume": 2, "last": 3}
        until(lambda: {name: run.before for name, run in runs.items()} == expected)
    waiters.finish()
    assert {run.before for run in runs.values()} == {0}


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_who_can_wait_comes_after_all_others(waiters):
    def prepare():
        with waiters.turns.take_idle():
            waiters.order.append("idle")

    idle = threading.Thread(target=prepare)
    with waiters.turns.take(Run(), "first", short=False):
        idle.start()
        for name in "ab":
            waiters.ask(name, name)
    waiters.threads.append(idle)
    assert waiters.finish() == ["a", "b", "idle"]


def test_a_single_slice_goes_before_volumes_but_not_before_old_ones(waiters):
    with waiters.turns.take(Run(), "first", short=False):
        waiters.ask("old volume", "a")
        waiters.ask("volume", "b", after=20)
        waiters.ask("slice", "c", short=True, after=15)
    assert waiters.finish() == ["old volume", "slice", "volume"]


def test_nobody_takes_all_turns(waiters):
    with waiters.turns.take(Run(), "first", short=False):
        for number in range(3):
            waiters.ask(f"greedy {number}", "greedy")
        waiters.ask("modest", "modest")
        waiters.ask("no name", None)
        waiters.ask("no name either", None)
    assert waiters.finish() == ["greedy 0", "modest", "no name", "no name either", "greedy 1", "greedy 2"]


def test_a_cancelled_request_leaves_the_line_at_once(waiters):
    gone = Run()
    with waiters.turns.take(Run(), "first", short=False):
        waiters.ask("gone", "a", run=gone)
        waiters.ask("stays", "b")
        gone.cancelled = True
        waiters.threads[0].join(5)
        assert waiters.order == ["gone cancelled"]
    assert waiters.finish() == ["gone cancelled", "stays"]


def test_whose_time_is_up_leaves_the_line(waiters):
    hurried = Run(most_seconds=3, clock=lambda: waiters.now)
    with waiters.turns.take(Run(), "first", short=False):
        waiters.ask("hurried", "a", run=hurried)
        waiters.ask("patient", "b", after=1)
        assert waiters.order == []
        waiters.now += 2
        waiters.threads[0].join(5)
        assert waiters.order == ["hurried too late"]
    assert waiters.finish() == ["hurried too late", "patient"]


@pytest.mark.parametrize(
    ("waited", "said"),
    [
        (0, "0 of them waiting for its turn. Nothing has changed. Ask for fewer slices"),
        (8, "when fewer people"),
    ],
)
def test_a_run_that_takes_too_long_is_told_why(waited, said):
    now = 0.0
    run = Run(most_seconds=10, clock=lambda: now)
    now = waited
    run.has_its_turn()
    now = 9.9
    run.progress(1, 5)
    now = 10
    with pytest.raises(TimeUpError, match="given up after 10 s") as caught:
        run.progress(2, 5)
    assert said in str(caught.value)


def test_an_error_gives_the_turn_on(waiters):
    with pytest.raises(ValueError, match="x"), waiters.turns.take(Run(), "a", short=False):
        raise ValueError("x")
    with waiters.turns.take(Run(), "a", short=False):
        pass


def test_an_undo_does_not_count_as_an_inference_of_no_time(monkeypatch):
    line = Line(most=0)
    monkeypatch.setattr(monitoring, "line", line)
    monitor = monitoring.Monitor()
    for _ in range(20):
        monitor.took("slmsam2", {"wait": 3.0, "total": 13.0})
        monitor.took("slmsam2", {})
    with line.place(), pytest.raises(HTTPException) as refused, line.place():
        pass
    assert refused.value.headers["Retry-After"] == "5"  # half of ten seconds: somebody is in the middle of it
    assert (
        monitor.registry.get_sample_value(
            "slmsam2_inference_seconds_count", {"model": "slmsam2", "part": "total"}
        )
        == 20
    )


def test_more_than_may_wait_are_refused():
    line = Line(most=1)
    for _ in range(20):
        line.took(10)
    with line.place(), line.place():
        with pytest.raises(HTTPException) as refused, line.place():
            pass
        assert line.inside == 2
    assert refused.value.status_code == 429
    assert 5 <= int(refused.value.headers["Retry-After"]) <= 11
    assert "Ask again in" in refused.value.detail
    with line.place():
        assert line.inside == 1
    assert line.inside == 0
