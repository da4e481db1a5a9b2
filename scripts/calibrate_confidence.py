#!/usr/bin/env python
"""Fit the confidence of a model to the Dice coefficients that it reaches on synthetic volumes.

    python scripts/calibrate_confidence.py

To be run again when the weights change. Writes model/confidence/<model>.yaml with the version of the weights.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.stats import spearmanr
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status
from slmsam2.engine import load_model
from slmsam2.engine.confidence import FACTS, Calibration
from slmsam2.evaluation.calibration import Samples, fit, joined, synthetic_samples
from slmsam2.files import check_writable, write_whole
from slmsam2.modeling import SLMSAM2, confidence_path


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    return exit_status("calibrate_confidence", lambda: calibrate(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="slm_sam2_nano", help="name of a model (%(default)s)")
    parser.add_argument("--model-dir", type=Path, help="folder with configs, checkpoints and confidence")
    parser.add_argument(
        "--volumes", type=at_least(2), default=60, help="synthetic volumes to fit on (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--output", type=Path, help="file to write (model/confidence/<model>.yaml)")
    return parser.parse_args(argv)


def calibrate(args: argparse.Namespace) -> None:
    path = args.output or confidence_path(args.model, args.model_dir)
    check_writable(path)
    model = load_model(args.model, args.model_dir, args.device)
    drawn = itertools.islice(synthetic_samples(model, args.seed), args.volumes)
    parts = list(tqdm(drawn, total=args.volumes, unit="volume", disable=None))
    held_back = max(args.volumes // 5, 1)
    trial = fit(joined(parts[held_back:]))
    checked = check(joined(parts[:held_back]), trial)
    write(path, model, fit(joined(parts)), args, checked)
    print(f"held back, fitted on the others: {checked}")
    print(f"{path} written, for {model.info['model']} {model.info['version']}")


def check(samples: Samples, calibration: Calibration) -> dict[str, float]:
    """How well a calibration does on samples it was not fitted on."""
    expected = calibration.expected(samples.facts, samples.found)
    return {
        "slices": len(samples.dice),
        "spearman": round(float(spearmanr(expected, samples.dice).statistic), 3),
        "mean_absolute_error": round(float(np.abs(expected - samples.dice).mean()), 3),
    }


def write(
    path: Path, model: SLMSAM2, calibration: Calibration, args: argparse.Namespace, checked: dict[str, float]
) -> None:
    content = {
        "model": model.info["model"],
        "version": str(model.info["version"]),
        "fitted_on": {"synthetic_volumes": args.volumes, "seed": args.seed},
        "held_back": checked,
        "facts": list(FACTS),
        "found": list(calibration.found),
        "empty": list(calibration.empty),
    }
    comment = (
        "# Expected Dice of a slice (slmsam2.engine.confidence), made by scripts/calibrate_confidence.py\n"
    )
    text = comment + yaml.safe_dump(content, sort_keys=False)
    write_whole(path, lambda stream: stream.write(text.encode()))


if __name__ == "__main__":
    sys.exit(main())
