"""Kills a server with SIGKILL at random moments while labels are saved, inferences and trainings run: what is lost?

python scripts/kill_test.py --kills 50
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / "server"), str(REPOSITORY / "tests")]

from killed import kill_again_and_again  # noqa: E402


def tell(line: str) -> None:
    """Say at once what has happened: all of it takes a while."""
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--longest", type=float, default=10.0, help="seconds after which a server is killed at most"
    )
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        tally = kill_again_and_again(Path(made), options.kills, options.seed, options.longest, tell)
    counts = tally.counts
    for name, what in (
        ("kills", "kills"),
        ("while saving", "of them while a label was saved"),
        ("while inferring", "of them while an inference ran"),
        ("while training", "of them while a training ran"),
        ("labels", "labels acknowledged"),
        ("sessions", "sessions acknowledged"),
        ("starts", "starts of the server, each of which served"),
        ("lost", "labels or sessions lost"),
        ("half", "files half written, or not in the list"),
        ("failed", "starts after which something did not work"),
    ):
        print(f"{counts[name]:6d}  {what}")
    print(f"seed {options.seed}, {time.monotonic() - start:.0f} s", *tally.problems, sep="\n")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
