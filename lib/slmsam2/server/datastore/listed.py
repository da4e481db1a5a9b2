"""What an image archive lists: asked for once in a while, by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import requests

LISTED_FOR = 10.0  # seconds; other programs may save labels, too
FAILED_FOR = (
    5.0  # seconds in which an archive that just failed is not asked again: those who waited fail as well
)
T = TypeVar("T")


class Listed(Generic[T]):
    """A list that is looked up when it is asked for and older than ten seconds.

    Args:
        look: asks the archive.
    """

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._found: T
        self._error: requests.RequestException | None = None
        self._until = 0.0
        self._asked_for = self._wanted = (
            object()
        )  # the same as long as nothing was forgotten since the last look

    def get(self) -> T:
        """The list.

        Raises:
            requests.RequestException: the archive does not answer, or refuses, now or a moment ago.
        """
        with self._lock:
            if self._asked_for is not self._wanted or time.monotonic() > self._until:
                self._renew()
            if self._error is not None:
                raise self._error.with_traceback(None)
            return self._found

    def forget(self) -> None:
        """Look again next time: something has changed. Does not wait for a look that is under way, nor trust it."""
        self._wanted = object()

    def _renew(self) -> None:
        wanted = self._wanted  # before the look: what is forgotten during it is looked up again
        try:
            self._found, self._error, kept_for = self._look(), None, LISTED_FOR
        except requests.RequestException as error:
            self._error, kept_for = error, FAILED_FOR
        self._asked_for, self._until = wanted, time.monotonic() + kept_for
