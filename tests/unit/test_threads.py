"""How many threads a process takes."""

import os
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from slmsam2 import threads

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def as_before():
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("", 4)],
)
def test_a_container_s_share_counts(tmp_path, monkeypatch, text, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert threads.usable_cores(quota) == cores
    assert threads.usable_cores(tmp_path / "missing") == 4


def test_what_is_said_counts_first(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    monkeypatch.setattr(threads.psutil, "cpu_count", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads.limit_threads() == torch.get_num_threads() == 3
    assert threads.limit_threads(leave=1) == torch.get_num_threads() == 2
    assert threads.limit_threads(leave=5) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.limit_threads(leave=5) == 2
    assert threads.limit_threads(1) == torch.get_num_threads() == 1
    assert threads.limit_threads(100_000) == torch.get_num_threads() == 3


class _Machine:
    """What psutil says of a machine of four cores on which some other process computes."""

    def __init__(self, monkeypatch):
        self.now, self.others, self.own = 0.0, 0.0, 0.0
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(threads, "usable_cores", lambda: 4)
        monkeypatch.setattr(threads.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads.psutil, "cpu_count", lambda: 4)
        monkeypatch.setattr(threads.psutil, "cpu_times", self._everybody)
        monkeypatch.setattr(threads.psutil, "Process", lambda: SimpleNamespace(cpu_times=self._mine))

    def pass_by(self, seconds, *, others, own):
        """Time in which others, and this process, use so many cores."""
        self.now += seconds
        self.others += seconds * others
        self.own += seconds * own

    def _everybody(self):
        user = self.others + self.own
        return CpuTimes(user=user, nice=1.0, system=3.0, idle=4 * self.now - user, iowait=7.0, guest=2.0)

    def _mine(self):
        return SimpleNamespace(user=self.own, system=0.0)


CpuTimes = namedtuple("CpuTimes", "user nice system idle iowait guest")


def test_a_training_takes_the_cores_that_others_leave(monkeypatch):
    machine = _Machine(monkeypatch)
    breathe = threads.SpareCores()
    steps = [(1, 0, 4), (1, 0.2, 4), (1, 1, 3), (1, 2.6, 1), (1, 4, 1), (1, 0, 1), (8, 0, 1), (1, 0, 4)]
    for seconds, others, expected in steps:
        machine.pass_by(seconds, others=others, own=min(4 - others, 3.5))
        assert breathe() == torch.get_num_threads() == expected
    machine.pass_by(0.1, others=4, own=0)
    assert breathe() == 4, "too short to say"


def test_within_a_container_s_share_one_core_is_left(monkeypatch):
    machine = _Machine(monkeypatch)
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    breathe = threads.SpareCores()
    machine.pass_by(1, others=0, own=2)
    assert breathe() == 2


def test_spare_cores_are_not_taken_where_threads_were_said(monkeypatch):
    machine = _Machine(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    breathe = threads.SpareCores()
    machine.pass_by(1, others=0, own=2)
    assert breathe() == 2
