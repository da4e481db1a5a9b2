#!/usr/bin/env python
"""How much the server learns from a few submitted labels: propagation Dice on volumes it has never seen.

    python scripts/learning_curve.py --output output/learning

Makes subjects of one synthetic anatomy (slmsam2.synthesis.subjects), lets the embedded model learn from the labels of
the first 1, then 5 of them, as the train task does, and propagates one painted slice in other subjects before and
after. Then structure by structure: the wall first, the duct after it, with and without replay of the wall's labels.
Prints a table, and writes it as learning.csv. With real volumes instead, folders as scripts/evaluate.py takes them:

    python scripts/learning_curve.py --learn-from ../shared/volumes/vxm_brain_t1_fs \
        --structures L-thalamus L-putamen L-caudate L-hippocampus \
        --test-on ../shared/volumes/vxm_brain_t1_fs ../shared/volumes/colin27_t1_aal \
        --test-structures R-thalamus R-putamen R-caudate R-hippocampus Thalamus_L Putamen_L Caudate_R Hippocampus_R \
        --output output/learning_brain

The right side of the volume that the left side was learnt from has the same atlas; the other volume has another one.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.engine.volume import load_model, propagate_volume
from slmsam2.errors import ConfigurationError, SlmSam2Error
from slmsam2.evaluation import Benchmark, tasks_of
from slmsam2.metrics import dice, largest_slice, only_slice
from slmsam2.modeling import SLMSAM2
from slmsam2.synthesis.subjects import STRUCTURES, Subject, make_subject
from slmsam2.training.labelled import Submission
from slmsam2.training.learn import Request, learn
from slmsam2.volume import Volume

MODEL = "slm_sam2_nano"
FIRST_UNSEEN = 10_000  # number of the first subject that is never learnt from
AXIS = 2


def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    try:
        rows = measure_real(args) if args.learn_from else measure(args)
    except (SlmSam2Error, OSError) as error:
        print(f"learning_curve: {error}", file=sys.stderr)
        return 2
    print_rows(rows)
    with (args.output / "learning.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--volumes", type=int, nargs="+", default=[1, 5], help="labels to learn from (%(default)s)"
    )
    parser.add_argument("--unseen", type=int, default=6, help="subjects to measure on (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training at most (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--skip-forgetting", action="store_true", help="leave out the second part")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for volumes, models and learning.csv"
    )
    real = parser.add_argument_group("real volumes")
    real.add_argument("--learn-from", type=Path, nargs="+", help="folders of the volumes to learn from")
    real.add_argument("--structures", nargs="+", help="what to learn there")
    real.add_argument("--test-on", type=Path, nargs="+", help="folders of the volumes to measure on")
    real.add_argument("--test-structures", nargs="+", help="what to measure there, of what each volume has")
    args = parser.parse_args()
    if args.learn_from and not (args.structures and args.test_on and args.test_structures):
        parser.error("--learn-from needs --structures, --test-on and --test-structures")
    return args


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    """One row per model: what it has learnt, and mean Dice per structure on the unseen subjects."""
    unseen = [make_subject(FIRST_UNSEEN + n) for n in range(args.unseen)]
    rows = [row("as it comes", load_model(MODEL), unseen, 0.0)]
    for count in args.volumes:
        folder = args.output / f"from_{count}"
        seconds = learn_from(submissions(folder, range(count), STRUCTURES), folder, args)
        rows.append(row(f"{count} labelled", load_model(MODEL, folder), unseen, seconds))
    if not args.skip_forgetting:
        rows += forgetting(args, unseen)
    return rows


def measure_real(args: argparse.Namespace) -> list[dict[str, object]]:
    """Propagation in a real volume before and after learning from others."""
    labels = [submission_of(folder, args.structures, args.output) for folder in args.learn_from]
    known = {name for folder in args.test_on for name in json.loads((folder / "labels.json").read_text())}
    missing = [name for name in args.test_structures if name not in known]
    if missing:
        raise ConfigurationError(f"No volume to measure on has {', '.join(missing)}.")
    before = real_row("as it comes", load_model(MODEL), args, 0.0)
    seconds = learn_from(labels, args.output, args)
    return [before, real_row(f"{len(labels)} labelled", load_model(MODEL, args.output), args, seconds)]


def submission_of(folder: Path, names: Sequence[str], output: Path) -> Submission:
    """The named structures of a volume, and no others, as an annotator of these would have submitted them."""
    values = values_of(folder, names)
    label = nib.load(folder / "label.nii.gz")
    found = np.asanyarray(label.dataobj)
    kept = np.where(np.isin(found, list(values.values())), found, 0).astype(np.uint16)
    output.mkdir(parents=True, exist_ok=True)
    written = output / f"{folder.name}_label.nii.gz"
    nib.save(nib.Nifti1Image(kept, label.affine), written)
    return Submission(folder.name, folder / "image.nii.gz", written, values)


def values_of(folder: Path, names: Iterable[str]) -> dict[str, int]:
    values = json.loads((folder / "labels.json").read_text())
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigurationError(f"{folder} has no structure {', '.join(missing)}.")
    return {name: values[name] for name in names}


def real_row(name: str, model: SLMSAM2, args: argparse.Namespace, seconds: float) -> dict[str, object]:
    """Dice of each structure, from its largest slice."""
    scores = {}
    for folder in args.test_on:
        there = json.loads((folder / "labels.json").read_text())
        names = [one for one in args.test_structures if one in there]
        benchmark = Benchmark(folder.parent, {folder.name: names}, {})
        for task in tasks_of(benchmark, folder.name, ("largest",)):
            found, _ = propagate_volume(
                task.image, task.painted.astype(np.uint8), model=model, axis=task.axis
            )
            scores[task.structure] = round(dice(found > 0, task.reference), 3)
    return {"learnt": name, "version": model.info["version"], **scores, "cpu_seconds": round(seconds)}


def forgetting(args: argparse.Namespace, unseen: Sequence[Subject]) -> list[dict[str, object]]:
    """The wall from three subjects, then the duct from three others, with and without replay."""
    rows = []
    for name, replay in (("wall, then duct", True), ("wall, then duct without replay", False)):
        folder = args.output / ("replay" if replay else "no_replay")
        wall = submissions(folder, range(20, 23), ["wall"])
        seconds = learn_from(wall, folder, args)
        if replay:
            rows.append(row("wall only", load_model(MODEL, folder), unseen, seconds))
        duct = submissions(folder, range(30, 33), ["duct"])
        seconds = learn_from(wall + duct if replay else duct, folder, args)
        rows.append(row(name, load_model(MODEL, folder), unseen, seconds))
    return rows


def submissions(folder: Path, numbers: Iterable[int], names: Iterable[str]) -> list[Submission]:
    """Write subjects with the labels of the named structures, as annotators would have submitted them."""
    values = {name: STRUCTURES[name] for name in names}
    written = []
    for number in numbers:
        subject = make_subject(number)
        image, label = (folder / f"subject_{number}_{kind}.nii.gz" for kind in ("image", "label"))
        folder.mkdir(parents=True, exist_ok=True)
        kept = np.where(np.isin(subject.label, list(values.values())), subject.label, 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(subject.image, subject.affine), image)
        nib.save(nib.Nifti1Image(kept, subject.affine), label)
        written.append(Submission(f"subject_{number}", image, label, values))
    return written


def learn_from(labels: list[Submission], model_dir: Path, args: argparse.Namespace) -> float:
    """Train; returns CPU seconds."""
    start = time.process_time()
    figures = learn(labels, Request(MODEL, model_dir, minutes=args.minutes))
    tqdm.write(f"{figures['message']} ({figures['total_time']})")
    return time.process_time() - start


def row(name: str, model: SLMSAM2, unseen: Sequence[Subject], seconds: float) -> dict[str, object]:
    """Mean Dice of propagations from the largest slice."""
    scores = {
        structure: fmean(propagated(model, s, v) for s in unseen) for structure, v in STRUCTURES.items()
    }
    rounded = {structure: round(score, 3) for structure, score in scores.items()}
    return {"learnt": name, "version": model.info["version"], **rounded, "cpu_seconds": round(seconds)}


def propagated(model: SLMSAM2, subject: Subject, value: int) -> float:
    """Dice of one structure, from its largest slice."""
    reference = subject.label == value
    painted = only_slice(reference, AXIS, largest_slice(reference, AXIS)).astype(np.uint8)
    found, _ = propagate_volume(Volume(subject.image, subject.affine), painted, model=model, axis=AXIS)
    return dice(found > 0, reference)


def print_rows(rows: Sequence[dict[str, object]]) -> None:
    names = [name for name in rows[0] if name not in ("learnt", "version", "cpu_seconds")]
    print(f"\n{'learnt':32} {'version':12} " + " ".join(f"{name:>6}" for name in names) + f" {'CPU s':>6}")
    for one in rows:
        dices = " ".join(f"{one[name]:{max(6, len(name))}.3f}" for name in names)
        print(f"{one['learnt']:32} {one['version']:12} {dices} {one['cpu_seconds']:6}")


if __name__ == "__main__":
    sys.exit(main())
