"""Lists of an archive: asked for seldom, never older than what is known to have changed."""

import threading
import time

import pytest
import requests

from slmsam2.server.datastore import listed as module
from slmsam2.server.datastore.listed import Listed

pytestmark = pytest.mark.unit


class Archive:
    """Lists how often it was asked; can wait, and can fail."""

    def __init__(self):
        self.asked, self.error = 0, None
        self.asking, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()

    def __call__(self):
        self.asked += 1
        number = self.asked
        self.asking.set()
        assert self.may_answer.wait(10)
        if self.error:
            raise self.error
        return number


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def listed(archive):
    return Listed(archive)


def test_a_list_is_kept_for_a_while(listed, archive, monkeypatch):
    assert [listed.get(), listed.get()] == [1, 1]
    later = time.monotonic() + 10.5
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert listed.get() == 2


def test_what_changed_is_looked_up(listed):
    assert listed.get() == 1
    listed.forget()
    assert [listed.get(), listed.get()] == [2, 2]


def test_a_look_under_way_does_not_hide_what_changes_meanwhile(listed, archive):
    archive.may_answer.clear()
    looking = threading.Thread(target=listed.get)
    looking.start()
    assert archive.asking.wait(10)
    listed.forget()  # waits for nobody
    archive.may_answer.set()
    looking.join()
    assert listed.get() == 2


def test_those_who_wait_for_an_archive_that_fails_fail_with_it(listed, archive, monkeypatch):
    archive.error = requests.ConnectionError("away")
    failed = []

    def ask():
        with pytest.raises(requests.ConnectionError, match="away"):
            listed.get()
        failed.append(1)

    archive.may_answer.clear()
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    archive.may_answer.set()
    for thread in threads:
        thread.join()
    assert (len(failed), archive.asked) == (5, 1)
    archive.error = None
    later = time.monotonic() + 5.5
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    assert listed.get() == 2


def test_another_error_does_not_bring_back_an_old_list(listed, archive):
    listed.get()
    listed.forget()
    archive.error = ValueError("not understood")
    for _ in range(2):
        with pytest.raises(ValueError, match="not understood"):
            listed.get()
