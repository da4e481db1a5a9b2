#!/usr/bin/env python
"""Propagate painted slices through a volume, without a server.

    python scripts/propagate.py --image ct.nii.gz --label painted.nii.gz --output out.nii.gz

The label has a value per structure on the painted slices and 0 elsewhere. The result lies on the image's own
grid, with the painted slices as they were.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2 import propagate_volume
from slmsam2.arguments import exit_status, one_of
from slmsam2.figures import FORMATS, SheetRow, contact_sheet
from slmsam2.files import check_writable, write_json
from slmsam2.modeling import QUALITY, SPEEDS
from slmsam2.volume import PRESETS, Volume, read_volume, write_label

LABEL_FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha")  # of slmsam2.volume.write_label


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    return exit_status("propagate", lambda: propagate(args))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--image", type=Path, required=True, help="NIfTI, NRRD, MHA, DICOM, or a folder of pictures"
    )
    parser.add_argument("--label", type=Path, required=True, help="label with the painted slices")
    parser.add_argument("--output", type=one_of(LABEL_FORMATS), required=True, help="label volume to write")
    parser.add_argument(
        "--model", default="slm_sam2_nano", help="name of a model in model/configs (%(default)s)"
    )
    parser.add_argument(
        "--axis", type=int, choices=(0, 1, 2), help="slice axis as stored (the one painted on)"
    )
    window = parser.add_mutually_exclusive_group()
    window.add_argument(
        "--window",
        help="intensities as level/width; below 0: --window=-600/1500 (chosen)",
    )
    window.add_argument("--preset", choices=sorted(PRESETS), help="intensities by name")
    parser.add_argument(
        "--structures", type=int, nargs="+", metavar="VALUE", help="label values (all that are painted)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument(
        "--speed", choices=SPEEDS, default=QUALITY, help="how accurate, how fast (%(default)s)"
    )
    parser.add_argument("--figure", type=one_of(FORMATS), help="contact sheet to write (.png, .pdf, .svg)")
    parser.add_argument("--report", type=Path, help="facts about the run to write (.json)")
    return parser.parse_args(argv)


def propagate(args: argparse.Namespace) -> None:
    taken = [args.image, args.label]
    for path in filter(None, (args.output, args.report, args.figure)):
        check_writable(path, taken)
        taken.append(path)
    image = read_volume(args.image)
    with tqdm(unit="slice", desc="propagating", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        array, report = propagate_volume(
            image,
            args.label,
            model=args.model,
            axis=args.axis,
            structures=args.structures,
            window=args.window,
            preset=args.preset,
            device=args.device,
            speed=args.speed,
            progress=progress,
        )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_label(args.output, array, image)
    print_report(report)
    print(f"{args.output} written")
    if args.report:
        write_json(args.report, report)
        print(f"{args.report} written")
    if args.figure:
        write_figure(args.figure, image, array, report)
        print(f"{args.figure} written")


def print_report(report: dict[str, Any]) -> None:
    latencies = report["latencies"]
    print(f"{report['model']} {report['version']}, axis {report['axis']}, {latencies['total']:.1f} s")
    for name, facts in report["structures"].items():
        painted = ", ".join(map(str, facts["painted"]))
        extent = f"{facts['first']} to {facts['last']}"
        print(f"{name}: painted {painted}; found on {facts['found']} slices, {extent}")
        for direction, stop in facts["stopped"].items():
            print(f"  {direction}: stopped at {stop['slice']} ({stop['reason']})")


def write_figure(path: Path, image: Volume, array: np.ndarray, report: dict[str, Any]) -> None:
    rows = [
        SheetRow(name, array == facts["value"], facts["painted"])
        for name, facts in report["structures"].items()
    ]
    contact_sheet(path, image, rows, axis=report["axis"], window=report["window"])


if __name__ == "__main__":
    sys.exit(main())
