#!/usr/bin/env python
"""Learn from the final labels of a studies folder, as the server's train task does, without a server.

    python scripts/learn.py --studies ~/studies
    torchrun --nproc-per-node 4 scripts/learn.py --studies ~/studies --preset full     # several GPUs

The new model is used if it is better: by a server that is running, too. Stop it at any time; the same command goes on.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import add_studies, at_least, exit_status
from slmsam2.errors import ConfigurationError
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.learning.submissions import Submitted
from slmsam2.training.finetune import PRESETS
from slmsam2.training.learn import Request, learn
from slmsam2.training.workers import Workers


def main() -> int:
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("monailabel").setLevel(logging.WARNING)
    if args.threads:
        torch.set_num_threads(args.threads)
    return exit_status("learn", lambda: learn_from(args))


def learn_from(args: argparse.Namespace) -> None:
    if not args.studies.is_dir():
        raise ConfigurationError(f"there is no folder {args.studies}.")
    request = Request(args.model, args.model_dir, args.preset, args.minutes)
    workers = Workers.join(args.device)
    try:
        datastore = FolderDatastore(str(args.studies), extensions=args.extensions)
        labels = Submitted(datastore, args.only_approved).all()
        learn(labels, request, workers)
    finally:
        workers.leave()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_studies(parser)
    parser.add_argument("--model", default="slm_sam2_nano", help="name of the model (%(default)s)")
    parser.add_argument("--model-dir", type=Path, help="model folder, when other than the repository's")
    parser.add_argument("--preset", choices=PRESETS, help="default: what suits model and device")
    parser.add_argument("--only-approved", action="store_true", help="labels that a reviewer has approved")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of training at most")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
