"""Inferences under way: how far they are, and ending one before it is done: by its user, or when its time is up.

A client that wants to follow its request sends an id of its own choice with it, ``request_id``.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from slmsam2.errors import RunCancelledError, TimeUpError


@dataclass
class Run:
    """One inference.

    Attributes:
        done, total: slices; ``total`` is 0 until the work has begun.
        before: how many are before it, the one under way included; 0 as soon as it has its turn.
        cancelled: its user does not want the result any more.
        most_seconds: that it may take from now on, waiting included.
        clock: seconds that only grow.
    """

    done: int = 0
    total: int = 0
    before: int = 0
    cancelled: bool = False
    most_seconds: float = math.inf
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._waited: float | None = None  # seconds until it was its turn

    def progress(self, done: int, total: int) -> None:
        """Take note after each slice.

        Raises:
            RunCancelledError: the run was cancelled.
            TimeUpError: it took longer than it may.
        """
        self.done, self.total = done, total
        self.check()

    def check(self) -> None:
        """Raises:
        RunCancelledError: the run was cancelled.
        TimeUpError: it took longer than it may.
        """
        if self.cancelled:
            raise RunCancelledError("This propagation was cancelled. Nothing has changed.")
        if self.seconds_left() <= 0:
            raise TimeUpError(self._time_up())

    def has_its_turn(self) -> None:
        """Take note that the waiting is over."""
        self._waited = self.clock() - self._began
        self.before = 0

    def seconds_left(self) -> float:
        """How long it may still take; infinite without a bound."""
        return self._began + self.most_seconds - self.clock()

    def _time_up(self) -> str:
        waited = self.most_seconds if self._waited is None else self._waited
        spent = "all" if self._waited is None else f"{waited:.0f}"
        advice = (
            "Ask again when fewer people work"
            if waited > self.most_seconds / 2
            else "Ask for fewer slices (first_slice, last_slice) or structures"
        )
        return (
            f"This inference was given up after {self.most_seconds:g} s, {spent} of them waiting for its turn. Nothing "
            f"has changed. {advice}, or for more time (most_seconds; the server's setting of that name is the bound)."
        )


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
