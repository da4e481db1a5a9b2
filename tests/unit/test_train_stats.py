"""What clients are told of trainings: at once that one was asked for, and never another one's figures as its own."""

import os
import time
from types import SimpleNamespace

import pytest
from monailabel.utils.async_tasks import utils as jobs

from slmsam2.files import write_json
from slmsam2.server.learning.train import SlmSam2Train
from slmsam2.training.learn import stats_path
from slmsam2.training.registry import Registry

pytestmark = pytest.mark.unit

MODEL = "slm_sam2_nano"
ME, ANOTHER = os.getpid(), 1


def named(value):
    """The tests' names are the same in every process."""
    return "me" if value == ME else None


@pytest.fixture
def stats(tmp_path, monkeypatch):
    """The figures, with a file of them that the process ``pid`` wrote, while jobs are in these states."""

    def stats(pid, *states, process=None, ago=0, begun=1, details=(), status="finished"):
        if pid is not None:
            figures = {
                "status": status,
                "message": "It was better.",
                "epoch": 20,
                "total_time": "0:01:00",
                "start_ts": int(time.time()) + begun,
            }
            write_json(stats_path(MODEL, tmp_path), {**figures, "pid": pid})
        asked = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - ago))
        listed = [
            {"id": str(n), "status": state, "start_ts": asked, "details": details}
            for n, state in enumerate(states)
        ]
        running = {job["id"]: SimpleNamespace(pid=process) for job in listed if job["status"] == "RUNNING"}
        monkeypatch.setattr(jobs, "background_tasks", {"train": listed})
        monkeypatch.setattr(jobs, "background_processes", {"train": running if process else {}})
        return SlmSam2Train(MODEL, tmp_path).stats()

    return stats


@pytest.mark.parametrize("before", [None, ANOTHER])
@pytest.mark.parametrize(
    ("states", "process"),
    [
        (["SUBMITTED"], None),
        (["RUNNING"], ME),  # it has not come to write anything yet
        (["DONE", "SUBMITTED"], None),
        (["RUNNING", "SUBMITTED"], ME),
    ],
    ids=named,
)
def test_a_training_that_was_asked_for_starts(stats, before, states, process):
    figures = stats(before, *states, process=process)
    assert (figures["status"], figures["epoch"], figures["message"]) == ("running", 0, "The training starts.")
    assert "total_time" not in figures
    assert abs(figures["start_ts"] - time.time()) < 5
    assert figures["current_time"].startswith("0:00:0")


@pytest.mark.parametrize(
    ("states", "process"),
    [
        ([], None),
        (["DONE"], None),
        (["RUNNING"], None),  # its process has just ended
        (["STOPPED", "ERROR"], None),
        (["RUNNING"], ANOTHER),  # its own figures
        (["RUNNING", "SUBMITTED"], ANOTHER),
    ],
)
def test_figures_of_the_last_one_and_of_the_one_under_way(stats, states, process):
    assert stats(ANOTHER, *states, process=process)["message"] == "It was better."


def test_a_job_whose_process_could_not_be_started_is_forgotten(stats):
    assert stats(ANOTHER, "SUBMITTED", ago=100)["message"] == "It was better."
    assert stats(ANOTHER, "RUNNING", "SUBMITTED", process=ME, ago=100)["message"] == "The training starts."


def test_nothing_before_the_first(stats):
    assert stats(None) == {}
    assert stats(None, "STOPPED") == {}


@pytest.mark.parametrize("before", [None, ANOTHER])
def test_a_job_that_failed_before_it_had_figures_is_told(stats, before):
    details = [
        "Traceback (most recent call last):",
        "slmsam2.errors.CheckpointError: There is no file a.pt.",
        "",
    ]
    figures = stats(before, "DONE", "ERROR", begun=-60, details=details)
    assert figures["status"] == "stopped"
    assert figures["message"] == "The training could not begin. There is no file a.pt."
    assert (
        stats(before, "ERROR", begun=-60)["message"]
        == "The training could not begin. The server's log says why."
    )
    assert stats(before, "ERROR", "STOPPED", begun=-60).get("message") == (before and "It was better.")


@pytest.mark.parametrize(
    "pid", [ANOTHER, ME], ids=named
)  # it may be that of any process by now, here or elsewhere
def test_a_training_that_was_killed_is_told_and_one_under_way_elsewhere_is_not(stats, pid, tmp_path):
    told = stats(pid, status="running")
    assert (told["status"], told["message"]) == (
        "stopped",
        "The training was ended; the next one goes on there.",
    )
    with Registry(MODEL, tmp_path).locked():
        assert stats(pid, "ERROR", status="running", begun=-60)["message"] == "It was better."
