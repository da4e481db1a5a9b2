#!/usr/bin/env python
"""Measure propagation on labelled volumes, beside simpler methods on the same tasks.

    python scripts/evaluate.py --volumes ../shared/volumes --benchmark tuning --output output/tuning

Each folder under --volumes has image.nii.gz, label.nii.gz and labels.json (structure name -> value). One slice of a
structure is painted from its reference: the largest, and in a second task the one at a quarter of the extent.
Writes scores.csv and scores.png and prints the means. CPU seconds are those of this process, by default on one thread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import exit_status
from slmsam2.evaluation import METHODS, Benchmark, Score, benchmark_of, score, tasks_of
from slmsam2.evaluation.arguments import add_benchmark_arguments
from slmsam2.evaluation.tables import summaries, write_figure
from slmsam2.evaluation.tasks import PROMPTS, of_any_task
from slmsam2.files import check_writable
from slmsam2.modeling import QUALITY, SLMSAM2, SPEEDS, build_model, checkpoint_path
from slmsam2.tables import write_rows

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    return exit_status("evaluate", lambda: evaluate(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_benchmark_arguments(parser, "folder for scores.csv and scores.png")
    parser.add_argument(
        "--speed", choices=SPEEDS, default=QUALITY, help="how accurate, how fast (%(default)s)"
    )
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=list(PROMPTS))
    return parser.parse_args(argv)


def evaluate(args: argparse.Namespace) -> None:
    benchmark, table = benchmark_of(args.benchmark, args.volumes, BENCHMARKS), args.output / "scores.csv"
    check_writable(table)
    weights = args.checkpoint or checkpoint_path(args.model)
    model = build_model(args.model, checkpoint=weights, device=args.device, speed=args.speed)
    scores = run(benchmark, model, args.methods, tuple(args.prompts), table)
    write_figure(args.output / "scores.png", scores)
    print_table(scores, benchmark)
    print(f"\n{model.info['model']} {model.info['version']}; every score: {table}")


def run(
    benchmark: Benchmark, model: SLMSAM2, methods: list[str], prompts: tuple[str, ...], table: Path
) -> list[Score]:
    """Every task by every method; the table has what is known after each volume."""
    scores = []
    with tqdm(desc="tasks", unit="task") as bar:
        for volume in benchmark.structures:
            for task in tasks_of(benchmark, volume, prompts):
                bar.set_postfix_str(f"{volume}: {task.structure}")
                scores += [score(task, name, METHODS[name](task, model)) for name in methods]
                bar.update()
            if scores:
                write_rows(table, scores)
    return of_any_task(scores)


def print_table(scores: list[Score], benchmark: Benchmark) -> None:
    print(
        f"\n{'painted':8} {'method':22} {'tasks':>5} {'Dice':>6} {'HD95 mm':>8} {'over/end':>8} {'CPU s/slice':>11}"
    )
    for s in summaries(scores):
        print(
            f"{s.prompt:8} {s.method:22} {s.tasks:5} {s.dice:6.3f} {s.hd95:8.1f} {s.over:8.1f} "
            f"{s.cpu_seconds_per_slice:11.3f}"
        )
    print("\nReference labels by: " + "; ".join(f"{k}: {v}" for k, v in benchmark.references.items()))


if __name__ == "__main__":
    sys.exit(main())
