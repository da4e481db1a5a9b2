"""Training that the server starts by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from monailabel.interfaces.datastore import Datastore
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes

from slmsam2.server.submissions import submitted_since
from slmsam2.server.train import TRAIN
from slmsam2.training.registry import Registry

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0


class AutoTrainer:
    """Starts the train task once enough labels are new.

    What is new is what was submitted since the last training began, so nothing is forgotten when the server is
    started again. While a training runs no other is started; what is submitted meanwhile counts for the next.

    Args:
        model: name of the train task.
        every: labels to wait for.
        datastore: where they are.
        registry: gives the registry as it is now.
    """

    def __init__(
        self, model: str, every: int, datastore: Callable[[], Datastore], registry: Callable[[], Registry]
    ):
        self._model, self._every = model, every
        self._datastore, self._registry = datastore, registry
        self._watching = threading.Lock()

    def label_saved(self) -> None:
        """A label was submitted: look, without making the client wait, whether to train."""
        if self._watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="auto-train", daemon=True).start()

    def _watch(self) -> None:
        try:
            self._start_when_due()
        finally:
            self._watching.release()

    def _start_when_due(self) -> None:
        """Wait for a running training to end, then start one if enough is new; again until too little is."""
        while True:
            while processes(TRAIN):
                time.sleep(POLL_SECONDS)
            count = submitted_since(self._datastore(), self._registry().last_start)
            if count < self._every:
                return
            logger.info("%d labels are new: training starts by itself", count)
            before = self._registry().last_start
            AsyncTask.run(TRAIN, request={"model": self._model})
            time.sleep(POLL_SECONDS)
            while processes(TRAIN):
                time.sleep(POLL_SECONDS)
            if self._registry().last_start == before:
                return  # it did not come to train: nothing to learn, or an error that the log tells
