#!/usr/bin/env python
"""Propagate one painted slice through each volume of a list, as the published inference does.

    python scripts/inference.py --test_img_folder data/images --test_mask_folder data/masks \\
        --checkpoint_folder runs/liver/checkpoints --checkpoint_name checkpoint.pt --cfg_name slm_sam2_hiera_t.yaml \\
        --test_txt_file data/test.txt --mask_prompt_dict data/prompts.json --output_folder results

mask_prompt_dict is JSON: {"volume": 12}, the slice whose mask prompts (from 0; pictures in the order of their names,
slices of a volume's file along its stored axis); also {"volume": {"1": 12, "2": [30, 31]}} for object ids with slices
of their own. Without it each object is prompted where it is largest. All object ids are propagated. Results:
<output_folder>/<volume>/00000.png with object ids; for volumes that are files, <volume>.nii.gz on their grid. Where
there are masks of other slices, Dice over these: dice.csv.

Started again, it does what is missing, and what was made from other files or prompts than are there now. Several
processes share the list: torchrun --nproc-per-node 4 scripts/...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import exit_status
from slmsam2.errors import ConfigurationError, PromptError, VolumeError
from slmsam2.modeling import build_model
from slmsam2.paper.inference import Inference, Share
from slmsam2.paper.layout import entries, read_list
from slmsam2.paper.prediction import read_prompt_slices
from slmsam2.volume import PRESETS, parse_window


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    return exit_status("inference", lambda: infer(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test_img_folder", type=Path, required=True, help="a folder or file per volume")
    parser.add_argument("--test_mask_folder", type=Path, required=True, help="the same with masks")
    parser.add_argument("--checkpoint_folder", type=Path, required=True)
    parser.add_argument("--checkpoint_name", required=True, help="published, SAM 2.1's, or our own")
    parser.add_argument("--cfg_name", default="slm_sam2_hiera_t.yaml", help="in model/configs (%(default)s)")
    parser.add_argument("--test_txt_file", type=Path, required=True, help="the volumes, one per line")
    parser.add_argument("--mask_prompt_dict", type=Path, help="JSON: volume -> slice (each object's largest)")
    parser.add_argument("--output_folder", type=Path, required=True)
    parser.add_argument("--recent_n", type=int, help="slices the short-term memory reads (the weights' own)")
    parser.add_argument("--device", default="auto", help="cuda, cpu, or auto: a GPU if there is one")
    window = parser.add_mutually_exclusive_group()
    window.add_argument(
        "--window",
        help="as level/width; below 0: --window=-600/1500; not for 8-bit pictures (chosen)",
    )
    window.add_argument("--preset", choices=sorted(PRESETS), help="the same by name")
    parser.add_argument("--model_dir", type=Path, help="model folder, when other than the repository's")
    return parser.parse_args(argv)


def infer(args: argparse.Namespace) -> None:
    names = read_list(args.test_txt_file)
    volumes = entries(names, args.test_img_folder, args.test_mask_folder)
    wanted = read_prompt_slices(args.mask_prompt_dict) if args.mask_prompt_dict else None
    if wanted is not None and set(names) - wanted.keys():
        missing = ", ".join(name for name in names if name not in wanted)
        raise ConfigurationError(f"'{args.mask_prompt_dict}' names no slice for {missing}. Add it.")
    share = Share.join(args.device)
    weights = args.checkpoint_folder / args.checkpoint_name
    config = args.cfg_name if Path(args.cfg_name).is_file() else args.cfg_name.removesuffix(".yaml")
    network = build_model(config, checkpoint=weights, device=share.device, model_dir=args.model_dir)
    if args.recent_n is not None and not 1 <= args.recent_n <= network.num_maskmem:
        raise ConfigurationError(f"--recent_n is {args.recent_n}: choose 1 to {network.num_maskmem}.")
    window = parse_window(args.window, args.preset)
    run = Inference(network, weights, args.output_folder, wanted, recent_n=args.recent_n, window=window)
    done = len(volumes) - len(run.left(volumes))
    if done:
        print(f"{done} of {len(volumes)} volumes are done already")
    failed = []
    with tqdm(unit="slice", desc="propagating", disable=None) as bar:
        for entry in run.left(share.of(volumes)):
            bar.set_postfix_str(entry.name)
            try:
                run.volume(entry, lambda _done, _total: bar.update())
            except (PromptError, VolumeError) as error:
                failed.append(f"{entry.name}: {error}")
    for line in run.summary(volumes):
        print(line)
    share.wait()
    if failed:
        raise VolumeError("without a result: " + "; ".join(failed))


if __name__ == "__main__":
    sys.exit(main())
