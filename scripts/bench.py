#!/usr/bin/env python
"""Measure what propagation costs, beside SAM 2.1 by the package's own video predictor, on the bundled CT.

    python scripts/bench.py --models slm_sam2_hiera_t slm_sam2_nano --sizes 1024 512 --slices 8 --output output/bench
    python scripts/bench.py --device cuda --sizes 1024 --slices 16 --structures spleen --output output/bench_gpu
    python scripts/bench.py --growth 100 300 1000 --output output/bench

On the CPU every variant runs in a process of its own, and CPU time is compared. On a GPU it is wall time after a
warm-up, in float32 and in bfloat16, with the share of the GPU's peak that is reached. Writes costs.csv, costs.md and
costs.png, and with --growth growth.csv and growth.png. Where SAM 2.1 weights are not downloaded they are random: costs
are the same, masks mean nothing but equal results. Ratios within one run are what counts; seconds depend on the machine
and on what else it does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status
from slmsam2.benchmark import measure, variants_of
from slmsam2.benchmark.growth import grow
from slmsam2.benchmark.tables import markdown, write_cost_figure, write_growth_figure
from slmsam2.errors import ConfigurationError, SlmSam2Error
from slmsam2.evaluation import Benchmark, tasks_of
from slmsam2.modeling import SPEEDS
from slmsam2.tables import write_rows

DATA = Path(__file__).resolve().parents[1] / "data"
VOLUME = "ts_ct_abdomen_3mm"
STRUCTURES = ["spleen", "liver", "kidney_right", "aorta", "stomach"]


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    return exit_status("bench", lambda: bench(args))


def bench(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    if args.growth:
        growth_of(args)
    else:
        compare(args)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["slm_sam2_hiera_t", "slm_sam2_nano"])
    parser.add_argument(
        "--sizes", type=at_least(1), nargs="+", default=[1024], help="image sizes of the Hiera models"
    )
    parser.add_argument("--speeds", nargs="+", choices=SPEEDS, default=list(SPEEDS))
    parser.add_argument("--slices", type=at_least(1), default=16, help="slices propagated to (%(default)s)")
    parser.add_argument(
        "--structures", nargs="+", default=STRUCTURES, help="of the CT; the first is run alone, too"
    )
    parser.add_argument(
        "--growth",
        type=at_least(1),
        nargs="+",
        metavar="SLICES",
        help="volumes of so many slices, by the last model",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder for tables and figures")
    args = parser.parse_args(argv)
    if args.growth and args.device != "cpu":
        parser.error("--growth looks at the CPU only")
    return args


def compare(args: argparse.Namespace) -> None:
    device = torch.device(args.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("There is no GPU here that PyTorch can use.")
    benchmark = Benchmark(DATA, {VOLUME: args.structures}, {})
    tasks = list(tasks_of(benchmark, VOLUME, ("largest",)))
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for group in variants_of(args.models, args.sizes, args.speeds, device):
            costs += measure(group, tasks, args.slices, args.threads, Path(folder), device)
            if costs:
                write_rows(args.output / "costs.csv", costs)
    if not costs:
        raise SlmSam2Error("No variant could be run; what went wrong is said above.")
    (args.output / "costs.md").write_text(markdown(costs) + "\n")
    write_cost_figure(args.output / "costs.png", costs)
    print(markdown(costs))


def growth_of(args: argparse.Namespace) -> None:
    growth = grow(args.models[-1], args.growth, range(1, len(args.structures) + 1), args.threads)
    write_rows(args.output / "growth.csv", growth)
    write_growth_figure(args.output / "growth.png", growth)
    for one in growth:
        print(
            f"{one.slices} slices, {one.structures} structures: {one.cpu_seconds:.1f} CPU s, "
            f"{1000 * one.cpu_seconds / one.slices:.0f} ms per slice, peak {one.peak_mib:.0f} MiB, "
            f"of which {one.added_mib:.0f} MiB for the run"
        )


if __name__ == "__main__":
    sys.exit(main())
