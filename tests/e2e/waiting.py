"""Waiting for what comes true by itself."""

import time
from collections.abc import Callable

NOTED = 10.0  # seconds until the server takes note of what others change in the PACS


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Ask again and again, at most so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds:.0f} s"
        time.sleep(0.5)
