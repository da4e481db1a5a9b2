"""How many threads a process takes."""

import os

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
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads.limit_threads() == torch.get_num_threads() == 3
    assert threads.limit_threads(leave=1) == torch.get_num_threads() == 2
    assert threads.limit_threads(leave=5) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.limit_threads(leave=5) == 2
    assert threads.limit_threads(1) == torch.get_num_threads() == 1
