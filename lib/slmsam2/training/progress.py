"""What can be watched while a model learns: a file of figures for clients, TensorBoard, and lines in the log."""

from __future__ import annotations

import logging
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from slmsam2.files import write_json

logger = logging.getLogger(__name__)

EPOCHS = 20  # parts that a training is shown in


def first_figures(started: float) -> dict[str, Any]:
    """The figures of a training that has just begun.

    Args:
        started: when, seconds since 1970.
    """
    return {
        "epoch": 0,
        "total_epochs": EPOCHS,
        "start_ts": int(started),
        "best_metric": 0.0,
        "status": "running",
    }


class Progress:
    """Tells how a training is getting on.

    The figures are those that MONAI Label's clients show (``epoch``, ``total_epochs``, ``best_metric``, and
    ``total_time`` once it is over), and our own: ``status`` (running, finished), ``message``, ``eta``, ``train``
    (losses), ``eval`` (Dice before and after), ``version``, ``published``, ``pid`` (of the training's process).

    Args:
        path: the file of figures.
        board: folder for TensorBoard; None: none.
    """

    def __init__(self, path: Path, board: Path | None):
        self._path, self._started = path, time.time()
        self._figures: dict[str, Any] = {**first_figures(self._started), "pid": os.getpid()}
        self._folder = board
        self._writer: SummaryWriter | None = (
            None  # opened with the first value: many trainings have nothing to learn
        )

    def tell(self, message: str, **figures: Any) -> None:
        """Say what is going on."""
        logger.info(message)
        self._write(message=message, **figures)

    def losses(self, step: int, steps: int, losses: dict[str, float], seconds_left: float) -> None:
        """After a training step, ``step`` of ``steps``."""
        for name, value in losses.items():
            self._board(f"loss/{name}", value, step)
        epoch = step * EPOCHS // steps
        if epoch == self._figures["epoch"] and step > 1:
            return
        left = timedelta(seconds=round(seconds_left))
        rounded = {name: round(value, 4) for name, value in losses.items()}
        logger.info("step %d of %d, loss %.3f, about %s left", step, steps, losses["total"], left)
        self._write(epoch=epoch, train=rounded, eta=str(left))

    def evaluation(self, step: int, structures: dict[str, float], mean: float, best: float) -> None:
        """After a validation: mean Dice, and that of each structure."""
        for name, value in structures.items():
            self._board(f"dice/{name}", value, step)
        self._board("dice", mean, step)
        logger.info("step %d: Dice %.3f on what is held back", step, mean)
        self._write(best_metric=round(best, 4))

    def finish(self, message: str, **figures: Any) -> dict[str, Any]:
        """The training is over. Returns all figures."""
        logger.info(message)
        taken = str(timedelta(seconds=int(time.time() - self._started)))
        self._figures.pop("eta", None)
        self._write(epoch=EPOCHS, status="finished", message=message, total_time=taken, **figures)
        if self._writer is not None:
            self._writer.close()
        return self._figures

    def _board(self, name: str, value: float, step: int) -> None:
        if self._writer is None and self._folder is not None:
            self._writer = SummaryWriter(str(self._folder))
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)

    def _write(self, **figures: Any) -> None:
        self._figures |= figures
        if self._figures["status"] == "running":
            self._figures["current_time"] = str(timedelta(seconds=int(time.time() - self._started)))
        write_json(self._path, self._figures)
