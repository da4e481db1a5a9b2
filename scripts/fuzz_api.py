"""Sends a server of its own requests made up from its description (schemathesis) and counts how it answers.

python scripts/fuzz_api.py --examples 5000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / "server"), str(REPOSITORY / "tests")]

from api_fuzz import Findings, fuzz, make_fuzz_studies  # noqa: E402
from server_process import running_server  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="requests, shared among the routes")
    parser.add_argument("--seed", type=int, default=0, help="the same number sends the same requests")
    parser.add_argument("--only", default="", help="routes with this text in them, such as '/datastore/'")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        (base / "model").mkdir()
        studies = make_fuzz_studies(base / "studies")
        with running_server(base, studies, "--conf", "model_dir", base / "model") as server:
            findings = fuzz(server.url, options.examples, options.seed, options.only)
        log = (base / "log.txt").read_text(errors="replace")
    print(table(findings))
    print(f"\n{findings.requests} requests, seed {options.seed}, {time.monotonic() - start:.0f} s")
    for route, failures in findings.failures.items():
        print(f"\n{route}: {len(failures)} without an answer or with 5xx, the first ones:")
        print("\n".join(failures[:3]))
    if findings.failures:
        print("\nThe server's last errors:", *log[log.rfind("Traceback") :].splitlines()[:60], sep="\n")
    return 1 if findings.failures else 0


def table(findings: Findings) -> str:
    """Answers by route, in Markdown."""
    lines = ["| route | requests | 2xx and 3xx | 4xx | 5xx or none |", "|---|---|---|---|---|"]
    for route, counts in findings.statuses.items():
        numbers = [0, 0, 0]
        for status, times in counts.items():
            numbers[2 if status == "none" or status >= 500 else 1 if status >= 400 else 0] += times
        lines.append(f"| `{route}` | {counts.total()} | {numbers[0]} | {numbers[1]} | {numbers[2]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
