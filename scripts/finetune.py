#!/usr/bin/env python
"""Fine-tune by the published recipe of SLM-SAM 2, on the paper's layout of pictures or on volumes.

    python scripts/finetune.py dataset.img_folder=data/images dataset.gt_folder=data/masks \\
        dataset.file_list_txt=data/train.txt launcher.experiment_log_dir=runs/liver

The settings are those of model/configs/slm_sam2_hiera_t_finetune.yaml (-c names another one: slm_sam2_hiera_s_finetune,
..._b+_..., ..._l_...); each can be changed on the command line. The folders hold, for each volume of the list, a folder
of pictures, a DICOM folder, or a file such as <volume>.nii.gz. The weights are <experiment_log_dir>/checkpoints/
checkpoint.pt. Stop it at any time; the same command goes on where it was, on the same curve.

    python scripts/finetune.py ... --num-gpus 4                                      # on this machine
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 scripts/finetune.py ...
    python scripts/finetune.py ... --use-cluster 1 --num-nodes 2 --num-gpus 4 submitit.partition=gpu

Several nodes share the folder of the run.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import torch
from omegaconf import DictConfig

from slmsam2.arguments import exit_status
from slmsam2.errors import ConfigurationError
from slmsam2.paper.configuration import DEFAULT, device_of, read_configuration
from slmsam2.paper.finetuning import FineTuning, check
from slmsam2.paper.launch import become_processes, run_here, started_by_torchrun, submit
from slmsam2.training.workers import Workers


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    command = sys.argv if argv is None else [__file__, *argv]
    return exit_status("finetune", lambda: finetune(args, command))


def finetune(args: argparse.Namespace, command: list[str]) -> None:
    config = configuration(args)
    if args.dry_run:
        dry_run(config, args.model_dir)
    elif args.use_cluster:
        check(config, args.model_dir)
        job = submit(config, args.model_dir)
        print(f"job {job.job_id} submitted, output in {job.paths.folder}")
    elif config.launcher.gpus_per_node > 1 and not started_by_torchrun():
        check(config, args.model_dir)
        become_processes(command, config.launcher.gpus_per_node)
    else:
        run_here(config, args.model_dir)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-c", "--config", default=DEFAULT, help="name in model/configs, or a path (%(default)s)"
    )
    parser.add_argument("--num-gpus", type=int, help="processes per node (launcher.gpus_per_node)")
    parser.add_argument("--num-nodes", type=int, help="nodes of the cluster (launcher.num_nodes)")
    parser.add_argument("--use-cluster", type=int, choices=(0, 1), default=0, help="1: submit it as a job")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and check the data")
    parser.add_argument("--model-dir", type=Path, help="model folder, when other than the repository's")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings")
    return parser.parse_intermixed_args(argv)


def configuration(args: argparse.Namespace) -> DictConfig:
    config = read_configuration(args.config, args.overrides, args.model_dir)
    for key, value in (("gpus_per_node", args.num_gpus), ("num_nodes", args.num_nodes)):
        if value is not None:
            config.launcher[key] = value
        if config.launcher[key] < 1:
            raise ConfigurationError(f"launcher.{key} is {config.launcher[key]}: it must be at least 1.")
    if config.launcher.num_nodes > 1 and not (args.use_cluster or args.dry_run or started_by_torchrun()):
        raise ConfigurationError("For several nodes add --use-cluster 1, or start torchrun on each of them.")
    gpus, wanted = torch.cuda.device_count(), config.launcher.gpus_per_node
    if not (args.use_cluster or args.dry_run) and device_of(config) == "cuda" and wanted > gpus:
        raise ConfigurationError(f"launcher.gpus_per_node is {wanted}, but there are {gpus} GPUs here.")
    return config


def dry_run(config: DictConfig, model_dir: Path | None) -> None:
    processes = config.launcher.num_nodes * config.launcher.gpus_per_node
    plan = FineTuning(config, Workers(0, processes, torch.device("cpu")), model_dir)
    for line in plan.describe():
        print(line)
    print(f"device: {device_of(config)}")


if __name__ == "__main__":
    sys.exit(main())
