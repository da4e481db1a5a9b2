"""Inferences under way: how far they are, and ending one before it is done.

A client that wants to follow its request sends an id of its own choice with it, ``request_id``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from slmsam2.errors import RunCancelledError


@dataclass
class Run:
    """One inference.

    Attributes:
        done, total: slices; ``total`` is 0 until the work has begun.
        cancelled: its user does not want the result any more.
    """

    done: int = 0
    total: int = 0
    cancelled: bool = False

    def progress(self, done: int, total: int) -> None:
        """Take note after each slice.

        Raises:
            RunCancelledError: the run was cancelled.
        """
        self.done, self.total = done, total
        self.check()

    def check(self) -> None:
        """Raises:
        RunCancelledError: the run was cancelled.
        """
        if self.cancelled:
            raise RunCancelledError("This propagation was cancelled. Nothing has changed.")


# what the request of this thread or task is followed by, whether it has an id or not
mine: ContextVar[Run | None] = ContextVar("mine", default=None)


class Runs:
    """The runs of this server that have an id; safe to use from several threads."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    @contextmanager
    def follow(self, request_id: str | None) -> Iterator[None]:
        """While the context is open, a run is known under ``request_id``; None: under no name."""
        if request_id is None:
            yield
            return
        with self._lock:
            self._runs[request_id] = mine.get() or Run()
        try:
            yield
        finally:
            with self._lock:
                self._runs.pop(request_id, None)

    def find(self, request_id: str | None) -> Run | None:
        """The run of this id; None: not under way."""
        with self._lock:
            return None if request_id is None else self._runs.get(request_id)


runs = Runs()
