"""What is noted after the answer: in order, waited for only by those who ask."""

import threading

import pytest

from slmsam2.server.datastore.notes import Notes

pytestmark = pytest.mark.unit


def test_nobody_waits_for_notes_but_who_asks_and_their_order_stays():
    notes, begin, written = Notes(), threading.Event(), []
    notes.add(begin.wait)
    for number in range(20):
        notes.add(lambda number=number: written.append(number))
    assert written == []
    begin.set()
    notes.finish()
    assert written == list(range(20))


def test_one_that_fails_is_logged_and_the_next_is_written(caplog):
    notes, written = Notes(), []
    notes.add(lambda: 1 / 0)
    notes.add(lambda: written.append(1))
    notes.finish()
    assert written == [1]
    assert "division by zero" in caplog.text
