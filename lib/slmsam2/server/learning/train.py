"""The ``slmsam2`` train task: learns from the final labels of the datastore."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import tasks
from monailabel.utils.others.generic import device_list

from slmsam2.errors import ConfigurationError
from slmsam2.server.learning.submissions import Submitted
from slmsam2.server.requests.parameters import AUTO
from slmsam2.server.routes.job_list import asked_at, running_jobs, waiting_jobs
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.process import server_application
from slmsam2.threads import SpareCores
from slmsam2.training.finetune import PRESETS
from slmsam2.training.learn import Request, learn, stats_path
from slmsam2.training.progress import first_figures
from slmsam2.training.registry import training_under_way
from slmsam2.training.workers import Workers

logger = logging.getLogger(__name__)

TRAIN = "train"  # MONAI Label's name for jobs of this kind
NICENESS = 10  # inference goes first
RAISED = re.compile(r"[\w.]+Error: (.+)")  # a line of a job's output
MINUTES = 10.0  # on a CPU, when the client does not say


class SlmSam2Train(TrainTask):
    """Fine-tunes the model on what was submitted, and publishes it if that made it better.

    MONAI Label runs it in a process of its own, which it may kill at any moment.

    Args:
        model: name of the model.
        model_dir: see :func:`slmsam2.modeling.model_directory`.
        device: for requests that name none; None: the best there is.
        only_approved: whether it learns only from what a reviewer has approved.
    """

    def __init__(
        self,
        model: str,
        model_dir: Path | None = None,
        device: str | None = None,
        only_approved: bool = False,
    ) -> None:
        super().__init__("Learns from the submitted labels; the new model is used if it is better")
        self._model, self._model_dir, self._device = model, model_dir, device
        self._only_approved = only_approved

    def config(self) -> dict[str, Any]:
        """What clients can set; of lists the first entry is the default. 3D Slicer sends all back, texts as texts."""
        devices = device_list()
        return {
            "device": list(dict.fromkeys([self._device or devices[0], *devices])),
            "preset": [AUTO, *PRESETS],
            "minutes": "",
        }

    def stats(self) -> dict[str, Any]:
        """Figures of the training that waits or is under way, else of the last one; empty before the first."""
        path = stats_path(self._model, self._model_dir)
        figures = _read(path)
        starting = _starting(figures.get("pid"))
        if starting:
            return starting
        if figures.get("status") == "running" and training_under_way(path.parent):
            return figures
        figures = _read(path)  # it may have come to its end just now
        if figures.get("status") == "running":
            figures |= {"status": "stopped", "message": "The training was ended; the next one goes on there."}
        return _failed(figures.get("start_ts", 0)) or figures

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train now.

        Args:
            request: ``device``, ``preset``, ``minutes``, as in :meth:`config`.

        Returns:
            The last figures.

        Raises:
            SlmSam2Error: a setting, the labels, or the weights cannot be used.
        """
        device = resolve_device(_first(request.get("device")) or self._device)
        breathe = SpareCores()
        if hasattr(os, "nice") and server_application() is None:
            os.nice(NICENESS)
        wanted = Request(
            model=self._model,
            model_dir=self._model_dir,
            preset=_preset(_first(request.get("preset"))),
            minutes=_minutes(_first(request.get("minutes")), device),
            breathe=breathe,
        )
        labels = Submitted(datastore, self._only_approved).all()
        return learn(labels, wanted, Workers(0, 1, torch.device(device)))


def _read(path: Path) -> dict[str, Any]:
    """The figures in a file; {} without any."""
    try:
        figures: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return figures


def _failed(begun: int) -> dict[str, Any]:
    """Figures of the training that was asked for last, if it failed before it had any of its own; else {}.

    Args:
        begun: when the training began that the last figures are of, seconds since 1970.
    """
    jobs = list(tasks(TRAIN))
    if not jobs or jobs[-1]["status"] != "ERROR" or asked_at(jobs[-1]) <= begun:
        return {}
    reasons = [found[1] for line in list(jobs[-1].get("details", ())) if (found := RAISED.match(line))]
    reason = reasons[-1] if reasons else "The server's log says why."
    return {
        **first_figures(asked_at(jobs[-1])),
        "status": "stopped",
        "message": f"The training could not begin. {reason}",
    }


def _starting(pid: int | None) -> dict[str, Any]:
    """Figures of a training that was asked for but has none of its own yet; {} without such a one.

    Args:
        pid: process of the training that the last figures are of.
    """
    running = running_jobs(TRAIN)
    jobs = [job for job in list(tasks(TRAIN)) if job["id"] in running] + waiting_jobs(TRAIN)
    if not jobs or pid in running.values():
        return {}
    asked = asked_at(jobs[0])
    waited = str(timedelta(seconds=int(time.time() - asked)))
    return {**first_figures(asked), "message": "The training starts.", "current_time": waited}


def check_settings(request: Mapping[str, Any]) -> None:
    """Look at what a training is asked for with, before there is a job that could only fail.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    _preset(_first(request.get("preset")))
    _minutes(_first(request.get("minutes")), "cpu")


def _first(value: Any) -> Any:
    """Lists may come back from clients as they were offered."""
    return (value[0] if value else None) if isinstance(value, (list, tuple)) else value


def _preset(value: Any) -> str | None:
    if value in (None, "", AUTO):
        return None
    if value not in PRESETS:
        raise ConfigurationError(
            f"preset {value!r} is not known. Choose one of: {AUTO}, {', '.join(PRESETS)}."
        )
    return str(value)


def _minutes(value: Any, device: str) -> float:
    """The time to train for; on a GPU without a wish until all steps are done."""
    if value in (None, ""):
        return MINUTES if device == "cpu" else math.inf
    try:
        minutes = float(value)
    except (TypeError, ValueError):
        minutes = math.nan
    if isinstance(value, bool) or not minutes > 0:
        raise ConfigurationError(f"minutes must be a number above 0, not {value!r}.")
    return minutes
