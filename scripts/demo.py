#!/usr/bin/env python
"""See it work: one painted slice of three organs goes to a real server, the labelled volumes come back.

    bash scripts/demo.sh

Starts the server on a copy of the bundled CT, asks it with MONAI Label's own client, compares with the
reference, and stops it. Results: output/demo.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.client import MONAILabelClient

from local_server import REPOSITORY, ServerError, running_server

sys.path.insert(0, str(REPOSITORY / "lib"))

from slmsam2.errors import SlmSam2Error
from slmsam2.figures import SheetRow, contact_sheet
from slmsam2.masks import largest_slice, only_slice
from slmsam2.metrics import dice, repeat_slice
from slmsam2.volume import Volume, default_axis, read_label, read_volume, write_label

STUDY = REPOSITORY / "data" / "ts_ct_abdomen_3mm"
STRUCTURES = ("liver", "spleen", "kidney_right")
IMAGE_ID = "ct_abdomen"


@dataclass(frozen=True)
class Answer:
    """What the server gave for one structure: mask (I, J, K), its report, and how long the client waited."""

    mask: np.ndarray
    report: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Score:
    """One line of the table; seconds are those the client waited, per slice the server looked at."""

    structure: str
    painted_slice: int
    dice: float
    dice_repeated_in_extent: float
    dice_repeated_everywhere: float
    slices: int
    reference_slices: int
    seconds: float
    seconds_per_slice: float


def main() -> int:
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped then, too
    args.output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="slmsam2_demo_") as scratch:
            demonstrate(args, Path(scratch))
    except (ServerError, SlmSam2Error) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--model", default="slm_sam2_nano", help="model configuration, by name (%(default)s)")
    output = REPOSITORY / "output" / "demo"
    parser.add_argument("--output", type=Path, default=output, help="folder for the results (output/demo)")
    return parser.parse_args()


def demonstrate(args: argparse.Namespace, scratch: Path) -> None:
    image, reference = read_volume(STUDY / "image.nii.gz"), read_label(STUDY / "label.nii.gz")
    values = json.loads((STUDY / "labels.json").read_text())
    masks = {name: reference.array == values[name] for name in STRUCTURES}
    studies = scratch / "studies"
    studies.mkdir()
    shutil.copy(STUDY / "image.nii.gz", studies / f"{IMAGE_ID}.nii.gz")

    axis = default_axis(image)
    scores, rows = [], []
    with running_server(studies, args.model, args.output / "server.log") as url:
        client = MONAILabelClient(url, tmpdir=str(scratch))
        for name, mask in masks.items():
            print(f"  {name} ...", flush=True)
            painted = only_slice(mask, axis, largest_slice(mask, axis))
            answer = ask(client, image, {name: values[name]}, painted, args.output, scratch)
            scores.append(score(name, answer, mask, painted))
            rows.append(SheetRow(name, answer.mask, [scores[-1].painted_slice], mask))
    sheet = args.output / "contact_sheet.png"
    contact_sheet(sheet, image, rows, axis=axis, window=answer.report["window"])
    (args.output / "scores.json").write_text(json.dumps([asdict(s) for s in scores], indent=2) + "\n")
    print_table(scores, answer.report)
    print(f"\nContact sheet: {sheet}\nVolumes, scores and the server's log: {args.output}")


def ask(
    client: MONAILabelClient,
    image: Volume,
    label_names: dict[str, int],
    painted: np.ndarray,
    output: Path,
    scratch: Path,
) -> Answer:
    """Send one painted slice of one structure."""
    [(name, value)] = label_names.items()
    label = scratch / f"{name}_painted.nii.gz"
    write_label(label, painted * np.uint8(value), image)
    params = {"label_info": [{"name": name, "id": value}], "result_extension": ".nii.gz"}
    start = time.perf_counter()
    file, reply = client.infer("slmsam2", IMAGE_ID, params, label_in=str(label))
    seconds = time.perf_counter() - start
    returned = output / f"{name}.nii.gz"
    shutil.move(file, returned)
    result = read_label(returned)
    if result.shape != image.shape or not np.allclose(result.affine, image.affine, atol=1e-4):
        raise ServerError(f"the returned volume {returned} is not on the image's grid.")
    return Answer(result.array == reply["label_names"][name], reply["report"], seconds)


def score(name: str, answer: Answer, mask: np.ndarray, painted: np.ndarray) -> Score:
    axis, facts = answer.report["axis"], answer.report["structures"][name]
    others = tuple(other for other in range(3) if other != axis)
    return Score(
        structure=name,
        painted_slice=facts["painted"][0],
        dice=dice(answer.mask, mask),
        dice_repeated_in_extent=dice(repeat_slice(painted, axis, extent=mask), mask),
        dice_repeated_everywhere=dice(repeat_slice(painted, axis), mask),
        slices=int(answer.mask.any(axis=others).sum()),
        reference_slices=int(mask.any(axis=others).sum()),
        seconds=answer.seconds,
        seconds_per_slice=answer.seconds / max(facts["found"] + facts["empty"], 1),
    )


def print_table(scores: list[Score], report: dict[str, Any]) -> None:
    print(f"\nModel {report['model']}, version {report['version']}; reference: TotalSegmentator's labels.\n")
    print("               painted            the painted slice repeated      slices with it   seconds")
    print("structure        slice   Dice   in true extent   everywhere   found  reference   per slice")
    for s in scores:
        print(
            f"{s.structure:<15} {s.painted_slice:>6} {s.dice:>6.3f} {s.dice_repeated_in_extent:>16.3f}"
            f" {s.dice_repeated_everywhere:>12.3f} {s.slices:>7} {s.reference_slices:>10}"
            f" {s.seconds_per_slice:>11.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
