"""Notes on images, which are written after the answer: nobody waits for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

logger = logging.getLogger(__name__)


class Notes:
    """Writes notes one after the other, in the order they came.

    In a thread of usual priority: to change a folder of studies it takes the lock that those who save labels wait for.
    """

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="notes")

    def add(self, write: Callable[[], Any]) -> None:
        """Do this soon; what it raises is logged."""
        self._writer.submit(_logged, write)

    def finish(self) -> None:
        """Wait until all that was added so far is written."""
        self._writer.submit(lambda: None).result()


def _logged(write: Callable[[], Any]) -> None:
    try:
        write()
    except Exception:  # nobody waits for the result; a full disk or a folder that is gone raises anything
        logger.exception("A note was not written")


notes = Notes()
