"""Training that the server starts by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes

from slmsam2.server.learning.submissions import Submitted
from slmsam2.server.learning.train import TRAIN
from slmsam2.training.registry import Registry

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class AutoTrainer:
    """Starts the train task once enough labels are new.

    What is new is what the last training that began was not given, so nothing is forgotten when the server is started
    again. While a training runs no other is started; what is submitted meanwhile counts for the next.

    Args:
        model: name of the train task.
        every: labels to wait for.
        submitted: gives all there are.
        registry: gives the registry as it is now.
    """

    def __init__(
        self, model: str, every: int, submitted: Callable[[], Submitted], registry: Callable[[], Registry]
    ):
        self._model, self._every = model, every
        self._submitted, self._registry = submitted, registry
        self._saved = threading.Event()  # since labels were last counted
        self._watching = threading.Lock()
        self._marks: dict[str, str] = {}  # of the labels there were when they were last counted

    def labels_changed(self) -> None:
        """A label was submitted or reviewed: look, without making the client wait, whether to train."""
        self._saved.set()
        self._watch_unless_watched()

    def look_again(self) -> None:
        """Count labels that were saved at another server: nobody tells this one."""
        try:
            changed = self._submitted().marks() != self._marks
        except Exception:  # archives raise anything, and who calls this regularly would end
            logger.exception("Whether there are new labels cannot be told")
        else:
            if changed:
                self.labels_changed()

    def _watch_unless_watched(self) -> None:
        if self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="auto-train", daemon=True).start()

    def _watch(self) -> None:
        self._saved.clear()
        try:
            self._start_when_due()
        except Exception:  # archives raise anything
            logger.exception("Whether to train by itself cannot be told")
        finally:
            self._watching.release()
        if self._saved.is_set():  # a label that was saved while this one was counted found the lock taken
            self._watch_unless_watched()

    def _start_when_due(self) -> None:
        """Wait for a running training to end, then start one if enough is new; again until too little is."""
        while True:
            while processes(TRAIN):
                time.sleep(POLL_SECONDS)
            before, submitted = self._registry(), self._submitted()
            self._marks = submitted.marks()
            count = submitted.count_new(before.given)
            if count < self._every:
                return
            logger.info("%d labels are new: training starts by itself", count)
            was = before.count, before.plan_path.is_file()
            AsyncTask.run(TRAIN, request={"model": self._model})
            time.sleep(POLL_SECONDS)
            while processes(TRAIN):
                time.sleep(POLL_SECONDS)
            now = self._registry()
            if (now.count, now.plan_path.is_file()) == was:
                return  # none began, none came to its end: nothing to learn, or an error that the log tells
