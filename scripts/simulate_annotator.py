#!/usr/bin/env python
"""What corrections bring: a simulated annotator on labelled volumes.

    python scripts/simulate_annotator.py --volumes ../shared/volumes --benchmark tuning --output output/annotator

Paints the largest slice of each structure from its reference, then corrects one slice after another: the one that
the report suggests, a random one of those that show the proposal or the reference, or the one that is truly worst.
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

from slmsam2.engine import Workspace
from slmsam2.errors import SlmSam2Error
from slmsam2.evaluation import Benchmark, benchmark_of, tasks_of
from slmsam2.evaluation.annotation_tables import (
    dice_by_corrections,
    rank_correlation,
    time_of_corrections,
    write_annotation_figure,
)
from slmsam2.evaluation.annotator import STRATEGIES, Round, SliceScore, annotate
from slmsam2.evaluation.arguments import add_benchmark_arguments
from slmsam2.modeling import SLMSAM2, build_model, checkpoint_path
from slmsam2.tables import write_rows

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    try:
        simulate(args)
    except (SlmSam2Error, OSError) as error:
        print(f"simulate_annotator: {error}", file=sys.stderr)
        return 2
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_benchmark_arguments(parser, "folder for the files")
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(STRATEGIES))
    parser.add_argument("--corrections", type=int, default=5, help="slices to correct (%(default)s)")
    parser.add_argument(
        "--beside-kin",
        action="store_true",
        help="with the other one of a pair, and the others of a series, in the label already",
    )
    return parser.parse_args(argv)


def simulate(args: argparse.Namespace) -> None:
    benchmark = benchmark_of(args.benchmark, args.volumes, BENCHMARKS)
    weights = args.checkpoint or checkpoint_path(args.model)
    model = build_model(args.model, checkpoint=weights, device=args.device)
    rounds, slices = run(benchmark, model, args.strategies, args.corrections, args.beside_kin)
    args.output.mkdir(parents=True, exist_ok=True)
    write_rows(args.output / "rounds.csv", rounds)
    write_rows(args.output / "slices.csv", slices)
    write_annotation_figure(args.output / "annotator.png", rounds, args.corrections)
    print_tables(rounds, slices, args)
    print(f"\n{model.info['model']} {model.info['version']}; every round: {args.output / 'rounds.csv'}")


def run(
    benchmark: Benchmark, model: SLMSAM2, strategies: list[str], corrections: int, beside_kin: bool
) -> tuple[list[Round], list[SliceScore]]:
    rounds: list[Round] = []
    slices: list[SliceScore] = []
    with tqdm(unit="structure", disable=None) as bar:
        for volume in benchmark.structures:
            for task in tasks_of(benchmark, volume, ("largest",)):
                bar.set_postfix_str(f"{volume}: {task.structure}")
                workspace = Workspace()
                for strategy in strategies:
                    work = annotate(task, model, strategy, corrections, workspace, beside_kin=beside_kin)
                    for done, scores in work:
                        rounds.append(done)
                        slices += scores
                bar.update()
    return rounds, slices


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
