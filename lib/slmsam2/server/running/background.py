"""Work that nobody waits for: it is done in threads of the lowest priority."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from slmsam2.server.running.shortage import give_back

logger = logging.getLogger(__name__)

LOWEST_PRIORITY = 19  # of Linux
T = TypeVar("T")


class Background(Generic[T]):
    """Does one kind of work in a thread of its own, which starts with the first thing there is to do.

    Args:
        name: of the thread, and in the log.
        work: is given all that waits, in the order it came, each thing once. What it raises is logged.
        most: things that wait; of more, those that came first are left out. None: all wait.
    """

    def __init__(self, name: str, work: Callable[[list[T]], Any], most: int | None = None) -> None:
        self._name, self._work = name, work
        self._waiting: deque[T] = deque(maxlen=most)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, thing: T) -> None:
        """See to this soon, after the work that is under way."""
        with self._changed:
            if thing not in self._waiting:
                self._waiting.append(thing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        _let_others_go_first()
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                things = list(self._waiting)
                self._waiting.clear()
            try:
                self._work(things)
            except Exception:  # nobody waits for the result; archives and converters raise anything
                logger.exception("What is done in the background failed: %s", self._name)
            finally:
                give_back()


def _let_others_go_first() -> None:
    """Give the calling thread the lowest priority, on Linux: elsewhere threads have none of their own."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
