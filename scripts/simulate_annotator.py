#!/usr/bin/env python
"""What corrections bring: a simulated annotator on labelled volumes.

    python scripts/simulate_annotator.py --volumes ../shared/volumes --benchmark tuning --output output/annotator

Paints the largest slice of each structure from its reference, then corrects one slice after another: the one that
the report suggests, the one of another plane that it suggests, a random one of those that show the proposal or the
reference, the one that is truly worst, or the truly worst one of another plane.
Writes rounds.csv, slices.csv and annotator.png and prints the means, the rank correlation of confidence and true Dice,
and what a correction costs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status
from slmsam2.engine import Workspace
from slmsam2.evaluation import Benchmark, benchmark_of, tasks_of
from slmsam2.evaluation.annotation_tables import (
    dice_by_corrections,
    rank_correlation,
    time_of_corrections,
    write_annotation_figure,
)
from slmsam2.evaluation.annotator import STRATEGIES, Round, SliceScore, annotate
from slmsam2.evaluation.arguments import add_benchmark_arguments
from slmsam2.evaluation.tasks import of_any_task
from slmsam2.files import check_writable
from slmsam2.modeling import SLMSAM2, build_model, checkpoint_path
from slmsam2.tables import write_rows

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    return exit_status("simulate_annotator", lambda: simulate(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_benchmark_arguments(parser, "folder for the files")
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--corrections", type=at_least(0), default=5, help="slices to correct (%(default)s)")
    parser.add_argument(
        "--beside-kin",
        action="store_true",
        help="with the other one of a pair, and the others of a series, in the label already",
    )
    return parser.parse_args(argv)


def simulate(args: argparse.Namespace) -> None:
    benchmark = benchmark_of(args.benchmark, args.volumes, BENCHMARKS)
    check_writable(args.output / "rounds.csv")
    weights = args.checkpoint or checkpoint_path(args.model)
    model = build_model(args.model, checkpoint=weights, device=args.device)
    rounds, slices = run(benchmark, model, args)
    write_annotation_figure(args.output / "annotator.png", rounds, args.corrections)
    print_tables(rounds, slices, args)
    print(f"\n{model.info['model']} {model.info['version']}; every round: {args.output / 'rounds.csv'}")


def run(
    benchmark: Benchmark, model: SLMSAM2, args: argparse.Namespace
) -> tuple[list[Round], list[SliceScore]]:
    """All rounds; the tables have what is known after each volume."""
    rounds: list[Round] = []
    slices: list[SliceScore] = []
    with tqdm(unit="structure", disable=None) as bar:
        for volume in benchmark.structures:
            for task in tasks_of(benchmark, volume, ("largest",)):
                bar.set_postfix_str(f"{volume}: {task.structure}")
                workspace = Workspace()
                for strategy in args.strategies:
                    work = annotate(
                        task, model, strategy, args.corrections, workspace, beside_kin=args.beside_kin
                    )
                    for done, scores in work:
                        rounds.append(done)
                        slices += scores
                bar.update()
            for name, rows in (("rounds", rounds), ("slices", slices)):
                if rows:
                    write_rows(args.output / f"{name}.csv", rows)
    return of_any_task(rounds), slices


def print_tables(rounds: list[Round], slices: list[SliceScore], args: argparse.Namespace) -> None:
    header = " ".join(f"{count:6}" for count in range(args.corrections + 1))
    print(f"\nmean Dice after so many corrections\n{'corrected':10} {header}")
    for strategy in args.strategies:
        means = dice_by_corrections(rounds, strategy, args.corrections).mean(axis=0)
        print(f"{strategy:10} " + " ".join(f"{mean:6.3f}" for mean in means))
    first = [one for one in slices if one.strategy == args.strategies[0] and not one.corrections]
    overall, median = rank_correlation(first)
    print(f"\nconfidence and true Dice of {len(first)} slices of the first proposals: Spearman {overall:.2f}")
    print(f"median over structures: {median:.2f}")
    if args.corrections:
        share = time_of_corrections(rounds)
        print(f"CPU time of a correction: {share:.0%} of the first proposal's (median)")


if __name__ == "__main__":
    sys.exit(main())
