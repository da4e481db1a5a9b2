#!/usr/bin/env python
"""Draw a sheet of the synthetic volumes that the embedded model is trained on, to look at.

    python scripts/draw_samples.py --output output/samples.png --seed 7

A row per volume, a column per slice; each structure that would be painted on the first slice in a colour of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import at_least, exit_status, one_of
from slmsam2.errors import ConfigurationError
from slmsam2.figures import FORMATS, save_figure
from slmsam2.files import check_writable
from slmsam2.modeling import load_config
from slmsam2.normalisation import grey_of
from slmsam2.synthesis import Clip, LabelMaps, mapped_clips, synthetic_clips
from slmsam2.training.pretrain import Stage

COLOURS = ("gold", "deepskyblue", "tomato", "limegreen", "orchid")


def main() -> int:
    args = parse_arguments()
    return exit_status("draw_samples", lambda: draw(args))


def draw(args: argparse.Namespace) -> None:
    check_writable(args.output)
    save_figure(sheet(drawn(args)), args.output, dpi=100)
    print(args.output)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=one_of(FORMATS), required=True, help="picture to write (.png, .pdf, .svg)"
    )
    parser.add_argument(
        "--config", default="pretrain_nano", help="its last stage's anatomy is drawn (%(default)s)"
    )
    parser.add_argument(
        "--label-maps", type=Path, help="draw what is cut from these, see scripts/label_maps.py"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--volumes", type=at_least(1), default=10)
    parser.add_argument("--slices", type=at_least(1), default=8)
    parser.add_argument(
        "--size", type=at_least(32), default=256, help="pixels of a slice's side (%(default)s)"
    )
    return parser.parse_args()


def drawn(args: argparse.Namespace) -> Clip:
    """The volumes of the sheet."""
    settings = load_config(args.config)
    if not settings.get("stages"):
        raise ConfigurationError(f"{args.config} has no stages: name the configuration of a pre-training.")
    stage = Stage.read(settings.stages[-1])
    size = args.volumes, args.slices, args.size, torch.Generator().manual_seed(args.seed)
    given = {"structures": min(settings.structures, len(COLOURS)), "settings": stage.anatomy}
    if args.label_maps:
        return mapped_clips(*size, LabelMaps(args.label_maps, torch.device("cpu")), **given)
    return synthetic_clips(*size, **given)


def sheet(clip: Clip) -> Figure:
    """A figure with a row per clip and a column per slice."""
    volumes, slices = clip.frames.shape[:2]
    figure = Figure(figsize=(1.6 * slices, 1.6 * volumes))
    panels = figure.subplots(volumes, slices, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    grey = grey_of(clip.frames)
    for volume in range(volumes):
        for index in range(slices):
            panel = panels[volume, index]
            panel.imshow(grey[volume, index].numpy(), cmap="gray", vmin=0, vmax=1)
            panel.set_axis_off()
            for mask, colour in zip(clip.masks[volume, :, index], COLOURS, strict=False):
                if mask.any():
                    panel.contour(mask.float().numpy(), levels=[0.5], colors=colour, linewidths=0.8)
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.995)
    return figure


if __name__ == "__main__":
    sys.exit(main())
