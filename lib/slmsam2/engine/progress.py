"""How far several runs have come, told as one."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


class Runs:
    """Progress over several runs, each taken to be as long as the present one.

    Args:
        progress: called with (slices done, slices to do as known so far); what it raises ends the run.
        runs: so many there will be; more may be added.
    """

    def __init__(self, progress: Progress | None, runs: int):
        self._progress, self.runs = progress, runs
        self._before = self._done = self._run = 0

    def report(self, done: int, total: int) -> None:
        """Of the present run."""
        self._done = done
        if self._progress is not None:
            self._progress(self._before + done, self._before + total * (self.runs - self._run))

    def next(self) -> None:
        """The present run has ended."""
        self._before += self._done
        self._run += 1
