#!/usr/bin/env python
"""Pre-train the embedded model on synthetic volumes.

    python scripts/pretrain.py --output runs/nano

Stop it at any time; the same command goes on where it was. The weights to use are <output>/slm_sam2_nano.pt.
Needs nothing but torch, numpy, sam2, hydra-core and omegaconf (tensorboard if it is there). On several GPUs:

    torchrun --nproc-per-node 4 scripts/pretrain.py --output runs/nano
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
from slmsam2.errors import RunCancelledError
from slmsam2.files import check_writable
from slmsam2.modeling import load_config, save_checkpoint
from slmsam2.training.interruption import StopSignal, cut_lines
from slmsam2.training.pretrain import Pretrainer
from slmsam2.training.workers import Workers


def main() -> int:
    args = parse_arguments()
    return exit_status("pretrain", lambda: pretrain(args))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default="pretrain_nano", help="name of a file in model/configs, or a path"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the run")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop after so long (resume later)"
    )
    parser.add_argument("--threads", type=at_least(1), help="CPU threads")
    parser.add_argument("--full-precision", action="store_true", help="no bfloat16")
    parser.add_argument("--no-graphs", action="store_true", help="no CUDA graphs (they take more memory)")
    return parser.parse_args()


def pretrain(args: argparse.Namespace) -> None:
    if args.threads:
        torch.set_num_threads(args.threads)
    state = args.output / "state.pt"
    check_writable(state)
    args.output.mkdir(parents=True, exist_ok=True)
    config = load_config(args.config)
    workers = Workers.join(args.device)
    trainer = Pretrainer(config, workers, mixed_precision=not args.full_precision, graphs=not args.no_graphs)
    if state.is_file():
        trainer.resume(state)
    deadline = time.monotonic() + 60 * args.minutes
    with StopSignal() as stop:
        if not workers.first:
            trainer.run(lambda step, losses: None)
        else:
            log = Log(args.output, args.config, trainer)
            trainer.run(log.report, until=lambda: stop.came or time.monotonic() > deadline)
            log.save()
            log.close()
    workers.leave()
    if stop.came and trainer.step < trainer.total_steps:
        raise RunCancelledError(
            f"Interrupted after step {trainer.step} of {trainer.total_steps}; the same command goes on from there."
        )


class Log:
    """Progress bar, a line of losses per step (losses.jsonl), TensorBoard when installed, and the saving."""

    def __init__(self, output: Path, config_name: str, trainer: Pretrainer):
        self.output, self.config_name, self.trainer = output, config_name, trainer
        self.bar = tqdm(total=trainer.total_steps, initial=trainer.step, desc="pre-training", mininterval=5)
        cut_lines(output / "losses.jsonl", trainer.step)
        self.losses = (output / "losses.jsonl").open("a")
        self.board = _tensorboard(output)

    def report(self, step: int, losses: dict[str, float]) -> None:
        self.bar.set_postfix({k: f"{losses[k]:.3f}" for k in ("total", "dice", "presence")}, refresh=False)
        self.bar.update()
        self.losses.write(json.dumps({"step": step, **losses}) + "\n")
        if self.board is not None:
            for name, value in losses.items():
                self.board.add_scalar(name, value, step)
        if (step + 1) % self.trainer.config.save_every == 0:
            self.save()

    def save(self) -> None:
        self.losses.flush()
        self.trainer.save(self.output / "state.pt")
        model = self.trainer.averaged_model()
        trained = {
            "data": self.trainer.data,
            "command": f"python scripts/pretrain.py --config {self.config_name} --output {self.output}",
            "workers": self.trainer.workers.count,
            "steps": self.trainer.step,
            "of": self.trainer.total_steps,
            "seed": int(self.trainer.config.seed),
            "minutes": round(self.trainer.seconds / 60, 1),
            "device": f"{self.trainer.device.type}, {torch.get_num_threads()} threads, {platform.machine()}",
            "torch": str(torch.__version__),
        }
        path = self.output / f"{Path(self.trainer.config.model).stem}.pt"
        save_checkpoint(path, model, version=f"pre-{self.trainer.step}", trained=trained, dtype=torch.float16)

    def close(self) -> None:
        self.bar.close()
        self.losses.close()
        if self.board is not None:
            self.board.close()


def _tensorboard(output: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(output))


if __name__ == "__main__":
    sys.exit(main())
