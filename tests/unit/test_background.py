"""Work in the background: what waits is done together, what fails does not end it, others go first."""

import os
import sys
import threading

import pytest

from slmsam2.server.running.background import LOWEST_PRIORITY, Background

pytestmark = pytest.mark.unit


class _Recorded:
    """Work whose first piece lasts until ``go`` is set, and then fails."""

    def __init__(self):
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.done, self.priorities = [], []

    def __call__(self, things):
        self.done.append(things)
        self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.begun.set()
        assert self.go.wait(10)
        if len(self.done) == 1:
            raise ValueError("the first one fails")
        self.ended.set()


@pytest.mark.parametrize(("most", "expected"), [(None, [2, 1, 3]), (2, [1, 3])])
def test_what_waits_is_done_together_and_once(most, expected, caplog):
    work = _Recorded()
    background = Background("counting", work, most)
    background.add(1)
    assert work.begun.wait(10)
    for thing in (2, 1, 2, 3, 3):
        background.add(thing)
    work.go.set()
    assert work.ended.wait(10)
    assert work.done == [[1], expected]
    assert "failed: counting" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_others_go_first():
    work = _Recorded()
    work.go.set()
    Background("counting", work).add(1)
    assert work.begun.wait(10)
    assert work.priorities[0] == LOWEST_PRIORITY
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < LOWEST_PRIORITY
