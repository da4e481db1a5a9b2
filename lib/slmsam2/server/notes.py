"""Notes on images, which are written after the answer: nobody waits for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Notes:
    """Writes notes one after the other, in the order they came.

    In a thread of usual priority: to change a folder of studies it takes the lock that those who save labels wait for.
    """

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="notes")

    def add(self, write: Callable[[], Any]) -> None:
        """Do this soon; what it raises is lost, so it should raise nothing."""
        self._writer.submit(write)

    def finish(self) -> None:
        """Wait until all that was added so far is written."""
        self._writer.submit(lambda: None).result()


notes = Notes()
