"""What MONAI Label's list of jobs says: which were asked for, and which are under way."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from monailabel.utils.async_tasks.utils import processes, tasks

LONGEST_START = 60.0  # seconds until a job that nothing is before has its process; else it was lost


def running_jobs(kind: str) -> dict[str, int]:
    """Id of each job under way -> its process."""
    return {
        job: process.pid for job, process in dict(processes(kind)).items()
    }  # a copy: others go on writing there


def waiting_jobs(kind: str) -> list[dict[str, Any]]:
    """Jobs that were asked for and have no process yet, the oldest first.

    A job whose process could not be started stays in MONAI Label's list as one that waits.
    """
    submitted = [job for job in list(tasks(kind)) if job["status"] == "SUBMITTED"]
    if running_jobs(kind):
        return submitted
    return [job for job in submitted if time.time() - asked_at(job) < LONGEST_START]


def asked_at(job: dict[str, Any]) -> float:
    """When a job was asked for, seconds since 1970."""
    return datetime.strptime(job["start_ts"], "%Y-%m-%d %H:%M:%S").timestamp()
