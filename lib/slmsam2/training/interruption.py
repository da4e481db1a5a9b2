"""Ending a training early, and going on with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from slmsam2.errors import CheckpointError
from slmsam2.files import write_whole
from slmsam2.modeling.checkpoint import load_content

USUAL_HANDLERS: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}


def read_state(path: Path, needed: Iterable[str]) -> dict[str, Any]:
    """What a training has kept to go on from, on the CPU; nothing in the file is executed.

    Args:
        needed: what must be in it.

    Raises:
        CheckpointError: it is damaged, or of something else.
    """
    try:
        state = load_content(path)
    except CheckpointError as error:
        raise CheckpointError(_damaged(path)) from error
    if not isinstance(state, dict) or any(name not in state for name in needed):
        raise CheckpointError(_damaged(path))
    return state


def _damaged(path: Path) -> str:
    return f"'{path}' is damaged or no state of such a run: remove it to begin anew, or choose another output folder."


def cut_lines(path: Path, count: int) -> None:
    """Keep the first lines of a file: those of steps that will not be made again; a new file is empty."""
    kept = path.read_text().splitlines()[:count] if path.is_file() else []
    write_whole(path, lambda stream: stream.write("".join(f"{line}\n" for line in kept).encode()))


class StopSignal:
    """While open, SIGTERM and Ctrl-C only set ``came``, so that the step under way is finished and the state kept.

    The second one ends at once. A handler that is there already, such as a cluster's, stays in charge.
    """

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> StopSignal:
        main = threading.current_thread() is threading.main_thread()
        usual = [number for number, handler in USUAL_HANDLERS.items() if signal.getsignal(number) is handler]
        self._ours = usual if main else []
        for number in self._ours:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._ours:
            signal.signal(number, USUAL_HANDLERS[number])

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.came = True
        signal.signal(number, USUAL_HANDLERS[signal.Signals(number)])
