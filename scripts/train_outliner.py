#!/usr/bin/env python
"""Train the network that draws outlines from clicks, strokes and boxes.

    python scripts/train_outliner.py --output runs/outliner

Stop it at any time; the same command goes on where it was. The weights are <output>/outliner.pt; in
model/checkpoints they are what clicks are answered with. Needs nothing but torch, numpy, sam2, hydra-core and
omegaconf, and label maps, see scripts/label_maps.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status
from slmsam2.devices import usable_device
from slmsam2.errors import RunCancelledError
from slmsam2.files import check_writable
from slmsam2.modeling import load_config
from slmsam2.modeling.outliner import save_outliner
from slmsam2.training.interruption import StopSignal, cut_lines
from slmsam2.training.outliner import OutlinerTrainer


def main() -> int:
    args = parse_arguments()
    return exit_status("train_outliner", lambda: train(args))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="outliner", help="name of a file in model/configs, or a path")
    parser.add_argument("--output", type=Path, required=True, help="folder for the run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so long (resume later)"
    )
    parser.add_argument("--threads", type=at_least(1), help="CPU threads")
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    state, curve = args.output / "state.pt", args.output / "losses.jsonl"
    check_writable(state)
    args.output.mkdir(parents=True, exist_ok=True)
    trainer = OutlinerTrainer(load_config(args.config), usable_device(args.device))
    if state.is_file():
        trainer.resume(state)
    deadline = time.monotonic() + 60 * args.minutes
    bar = tqdm(total=trainer.config.steps, initial=trainer.step, desc="training", mininterval=5)
    cut_lines(curve, trainer.step)
    with StopSignal() as stop, curve.open("a") as lines:

        def report(step: int, losses: dict[str, float]) -> None:
            bar.set_postfix({k: f"{losses[k]:.3f}" for k in ("dice", "edge")}, refresh=False)
            bar.update()
            lines.write(json.dumps({"step": step, **losses}) + "\n")
            if (step + 1) % trainer.config.save_every == 0:
                lines.flush()
                save(trainer, args)

        trainer.run(report, until=lambda: stop.came or time.monotonic() > deadline)
        lines.flush()
        save(trainer, args)
    bar.close()
    if stop.came and trainer.step < trainer.config.steps:
        raise RunCancelledError(
            f"Interrupted after step {trainer.step} of {trainer.config.steps}; the same command goes on from there."
        )


def save(trainer: OutlinerTrainer, args: argparse.Namespace) -> None:
    """Write what resuming needs, and the weights."""
    before = trainer.average.info["trained"]  # of the weights it began with
    trainer.save(args.output / "state.pt")
    trained = {
        "data": f"label maps ({trainer.config.label_maps_from}), synthetic shapes",
        "command": f"python scripts/train_outliner.py --config {args.config} --output {args.output}",
        "steps": trainer.step,
        "of": trainer.config.steps,
        "seed": int(trainer.config.seed),
        "minutes": round(trainer.seconds / 60, 1),
        "device": f"{trainer.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
        "torch": str(torch.__version__),
        "before": before,
    }
    save_outliner(args.output / "outliner.pt", trainer.result(), f"outliner-{steps_of(trained)}", trained)


def steps_of(trained: dict[str, Any]) -> int:
    """Of a training and those before it."""
    return int(trained["steps"]) + (steps_of(trained["before"]) if trained.get("before") else 0)


if __name__ == "__main__":
    sys.exit(main())
