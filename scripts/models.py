#!/usr/bin/env python
"""The versions of a model that were learnt from users' labels, and weights files from elsewhere.

    python scripts/models.py list
    python scripts/models.py rollback learned-3       # or: base, the weights that came with the model or were installed
    python scripts/models.py export learned-3 --output liver_team.pt

A running server takes the change over with its next inference. Weights that were fine-tuned here or elsewhere (our
own format, published SLM-SAM 2, SAM 2.1) become those of a model, or change their format, without loss:

    python scripts/models.py --model slm_sam2_hiera_t install runs/liver/checkpoints/checkpoint.pt
    python scripts/models.py --model slm_sam2_hiera_t install model/checkpoints/slm_sam2_hiera_t.pt.before  # and back
    python scripts/models.py --model slm_sam2_hiera_t convert checkpoint.pt --to published --output for_the_paper.pt

What was learnt twice from the same beginning is often best in the mean of the weights:

    python scripts/models.py mean before.pt run_a.pt run_b.pt --version team-2 --output both.pt
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import exit_status
from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.files import write_whole
from slmsam2.modeling import SLMSAM2, build_model, load_config, model_directory, read_checkpoint
from slmsam2.modeling.checkpoint import (
    Checkpoint,
    mean_content,
    own_content,
    published_content,
    write_content,
)
from slmsam2.training.registry import Registry

BASE = "base"


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    return exit_status("models", lambda: manage(args))


def manage(args: argparse.Namespace) -> None:
    if args.command is not install_file and args.model_dir and not args.model_dir.is_dir():
        raise ConfigurationError(f"there is no folder {args.model_dir}.")
    load_config(args.model, args.model_dir)  # which says so if there is no such model
    args.command(Registry(args.model, args.model_dir), args)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="slm_sam2_nano", help="name of the model (%(default)s)")
    parser.add_argument("--model-dir", type=Path, help="model folder, when other than the repository's")
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="all versions, the one in use marked with a star")
    listing.set_defaults(command=show)
    back = commands.add_parser("rollback", help="use another version from now on")
    back.add_argument("version", help=f"its name, or {BASE}")
    back.set_defaults(command=roll_back)
    export = commands.add_parser("export", help="copy a version's weights")
    export.add_argument("version", help=f"its name, or {BASE}")
    export.add_argument("--output", type=Path, required=True, help="file to write")
    export.set_defaults(command=copy_out)
    install = commands.add_parser("install", help="use a weights file as the base weights of the model")
    install.add_argument("file", type=Path, help="our own, published SLM-SAM 2, or SAM 2.1")
    install.set_defaults(command=install_file)
    change = commands.add_parser("convert", help="write a weights file in another format")
    change.add_argument("file", type=Path, help="our own, published SLM-SAM 2, or SAM 2.1")
    change.add_argument("--to", choices=("published", "own"), required=True)
    change.add_argument("--output", type=Path, required=True, help="file to write")
    change.set_defaults(command=convert)
    mean = commands.add_parser("mean", help="write the mean of several weights files of one network")
    mean.add_argument("files", type=Path, nargs="+", help="our own format")
    mean.add_argument("--shares", type=float, nargs="+", help="of each file (all the same)")
    mean.add_argument("--version", required=True, help="a name for the mean")
    mean.add_argument("--output", type=Path, required=True, help="file to write")
    mean.set_defaults(command=write_mean)
    return parser.parse_args(argv)


def show(registry: Registry, _args: argparse.Namespace) -> None:
    in_use = registry.published
    print(
        f"  {'version':14} {'made':16} {'from':14} {'labels':>6} {'Dice before':>11} {'after':>6}  structures"
    )
    print(f"{' ' if in_use else '*'} {BASE:14} {registry.path(None)}")
    for one in registry.versions:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created))
        found = one.metrics.get("eval", {})
        print(
            f"{'*' if one == in_use else ' '} {one.version:14} {made:16} {one.parent or BASE:14} {len(one.labels):6} "
            f"{found.get('before', float('nan')):11.3f} {found.get('after', float('nan')):6.3f}  "
            f"{', '.join(one.structures)}"
        )


def roll_back(registry: Registry, args: argparse.Namespace) -> None:
    with registry.locked():
        registry.use(None if args.version == BASE else args.version)
    print(f"{registry.model}: {args.version} is in use from now on.")


def copy_out(registry: Registry, args: argparse.Namespace) -> None:
    path = registry.path(None if args.version == BASE else args.version)
    if not path.is_file():
        known = ", ".join([BASE, *(one.version for one in registry.versions)])
        raise CheckpointError(f"There is no version {args.version!r}. Known: {known}.")
    write_whole(args.output, lambda stream: stream.write(path.read_bytes()))
    print(
        f"{args.output}: load it with build_model({registry.model!r}, checkpoint=...), or put it into a model folder."
    )


def loaded(registry: Registry, args: argparse.Namespace) -> tuple[Checkpoint, SLMSAM2]:
    """A weights file, and the model with these weights: so it is known that they fit."""
    network = build_model(registry.model, checkpoint=args.file, model_dir=args.model_dir)
    return read_checkpoint(args.file), network


def install_file(registry: Registry, args: argparse.Namespace) -> None:
    checkpoint, network = loaded(registry, args)
    target = model_directory(args.model_dir) / "checkpoints" / f"{registry.model}.pt"
    with registry.locked():
        if target.is_file():
            print(f"the weights that were there: {kept_aside(target)}")
        write_content(target, own_content(checkpoint, network, checkpoint.version))
    print(f"{target} written: {registry.model} {checkpoint.version}")
    if registry.published is not None:
        print(
            f"In use is still {registry.published.version}: models.py rollback {BASE} uses the new weights."
        )


def kept_aside(target: Path) -> Path:
    """A copy of a weights file beside it, under a name of its own: what was kept before stays."""
    path, number = target.with_name(f"{target.name}.before"), 1
    while path.exists() and not filecmp.cmp(target, path, shallow=False):
        number += 1
        path = target.with_name(f"{target.name}.before-{number}")
    if not path.exists():
        shutil.copyfile(target, path)
    return path


def convert(registry: Registry, args: argparse.Namespace) -> None:
    checkpoint, network = loaded(registry, args)
    if args.to == "published":
        if checkpoint.kind == "sam2":
            raise CheckpointError(f"{args.file} holds SAM 2.1, not SLM-SAM 2: fine-tune it first.")
        content = published_content(checkpoint, network)
    else:
        content = own_content(checkpoint, network, checkpoint.version)
    write_content(args.output, content)
    print(f"{args.output} written: {registry.model}, recent_n {network.recent_n}, input {network.image_size}")


def write_mean(registry: Registry, args: argparse.Namespace) -> None:
    network = build_model(registry.model, checkpoint=args.files[0], model_dir=args.model_dir)
    checkpoints = [read_checkpoint(path) for path in args.files]
    write_content(args.output, mean_content(checkpoints, network, args.version, args.shares))
    print(f"{args.output} written: {registry.model} {args.version}, the mean of {len(checkpoints)} files")


if __name__ == "__main__":
    sys.exit(main())
