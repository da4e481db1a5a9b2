"""How much memory a process has needed."""

from __future__ import annotations

import re
from pathlib import Path


def peak_mib() -> float:
    """The most memory that this process has held so far (Linux: VmHWM), in MiB.

    ``resource.getrusage`` says no less than what the process that started this one held.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise OSError("This system does not say how much memory a process has needed (no VmHWM).")
    return int(found[1]) / 1024
