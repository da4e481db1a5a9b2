#!/usr/bin/env python
"""What clicks and boxes bring: a simulated annotator who clicks, on labelled volumes.

    python scripts/evaluate_clicks.py --volumes ../shared/volumes --benchmark tuning --output output/clicks

Asks for the largest slice of each structure, and for the one at a quarter of its extent: by clicks alone, by a box and
clicks, and by clicks that correct the reference mask of a slice nearby. Each click is in the middle of what is most
wrong. Writes clicks.csv and prints the mean Dice of these slices, and CPU seconds per request.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status
from slmsam2.evaluation import Benchmark, benchmark_of, tasks_of
from slmsam2.evaluation.arguments import add_benchmark_arguments
from slmsam2.evaluation.clicking import BEGINNINGS, Clicked, click_on
from slmsam2.evaluation.tasks import of_any_task
from slmsam2.files import check_writable
from slmsam2.modeling import SLMSAM2, build_model, checkpoint_path
from slmsam2.tables import write_rows

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    return exit_status("evaluate_clicks", lambda: evaluate(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_benchmark_arguments(parser, "folder for the file")
    parser.add_argument("--clicks", type=at_least(1), default=5, help="so many at most (%(default)s)")
    parser.add_argument(
        "--slip", type=float, default=0.0, help="how far a box is off at most, of its sides (%(default)s)"
    )
    return parser.parse_args(argv)


def evaluate(args: argparse.Namespace) -> None:
    benchmark, table = benchmark_of(args.benchmark, args.volumes, BENCHMARKS), args.output / "clicks.csv"
    check_writable(table)
    weights = args.checkpoint or checkpoint_path(args.model)
    model = build_model(args.model, checkpoint=weights, device=args.device)
    rows = run(benchmark, model, args.clicks, args.slip, table)
    print_table(rows, args.clicks)
    print(f"\n{model.info['model']} {model.info['version']}; every request: {table}")


def run(benchmark: Benchmark, model: SLMSAM2, clicks: int, slip: float, table: Path) -> list[Clicked]:
    """All clicks; the table has what is known after each volume."""
    rows: list[Clicked] = []
    with tqdm(unit="slice", disable=None) as bar:
        for volume in benchmark.structures:
            for task in tasks_of(benchmark, volume):
                bar.set_postfix_str(f"{volume}: {task.structure}")
                for beginning in BEGINNINGS:
                    rows += click_on(task, model, beginning, clicks, slip)
                bar.update()
            if rows:
                write_rows(table, rows)
    return of_any_task(rows)


def print_table(rows: list[Clicked], clicks: int) -> None:
    header = " ".join(f"{count:6}" for count in range(clicks + 1))
    print(f"\nmean Dice of the slice after so many clicks\n{'beginning':10} {header}   slices")
    for beginning in BEGINNINGS:
        reached = [
            [one.dice for one in rows if one.beginning == beginning and one.clicks == count]
            for count in range(clicks + 1)
        ]
        means = " ".join(f"{np.mean(some):6.3f}" if some else "     -" for some in reached)
        print(f"{beginning:10} {means}   {len(reached[-1])}")
    seconds = [one.cpu_seconds for one in rows if one.cpu_seconds]
    print(f"\n{np.mean(seconds):.3f} CPU seconds a request (mean of {len(seconds)})")


if __name__ == "__main__":
    sys.exit(main())
