"""What every command line asks that runs a model on labelled volumes."""

from __future__ import annotations

import argparse
from pathlib import Path

from slmsam2.arguments import at_least


def add_benchmark_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """Which volumes and structures, which weights, on what, and where to; ``output`` says what is written there."""
    parser.add_argument("--volumes", type=Path, required=True, help="folder with a folder per volume")
    parser.add_argument(
        "--benchmark",
        help="which structures: a name in scripts/benchmarks or a file (all volumes, all structures)",
    )
    parser.add_argument("--model", default="slm_sam2_nano", help="name of a model (%(default)s)")
    parser.add_argument("--checkpoint", type=Path, help="weights, when other than the model's own")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help=output)
