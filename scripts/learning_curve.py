#!/usr/bin/env python
"""How much a server learns from a few submitted labels: propagation Dice on volumes it has never seen.

    python scripts/learning_curve.py --output output/learning

Starts servers as users do, with a model folder of their own, and works with MONAI Label's own client: labels of the
first 1, then 5 subjects of one synthetic anatomy (slmsam2.synthesis.subjects) are submitted and trained on, and one
painted slice is propagated in other subjects before, once the server knows what was submitted by its looks, and after.
Then structure by structure: the wall first, the duct
after it, with and without the wall's labels being there to be replayed. Prints a table, and writes it as learning.csv.
With real volumes instead, folders as scripts/evaluate.py takes them:

    python scripts/learning_curve.py --learn-from ../shared/volumes/vxm_brain_t1_fs \
        --structures L-thalamus L-putamen L-caudate L-hippocampus \
        --test-on ../shared/volumes/vxm_brain_t1_fs ../shared/volumes/colin27_t1_aal \
        --test-structures R-thalamus R-putamen R-caudate R-hippocampus Thalamus_L Putamen_L Caudate_R Hippocampus_R \
        --output output/learning_brain

The right side of the volume that the left side was learnt from has the same atlas; the other volume has another one.
With --mirror what is learnt from are mirror images, sides exchanged: as if it were another person, in the same scanner.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.client import MONAILabelClient

from local_server import ServerError, running_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.errors import ConfigurationError, SlmSam2Error
from slmsam2.evaluation import Benchmark, tasks_of
from slmsam2.evaluation.tasks import Task
from slmsam2.masks import largest_slice
from slmsam2.metrics import dice
from slmsam2.synthesis.subjects import STRUCTURES, make_subject
from slmsam2.training.labelled import Submission
from slmsam2.volume import Volume, read_label, write_label

MODEL = "slm_sam2_nano"
FIRST_UNSEEN = 10_000  # number of the first subject that is never learnt from
AXIS = 2
LOOK_SECONDS = 2.0  # between looks whether the server is ready
LOOKS_SECONDS = 600.0  # to learn what structures look like
SIDES = {"L": "R", "R": "L", "left": "right", "right": "left"}
SIDE = re.compile(r"(?<![A-Za-z])(L|R|left|right)(?![A-Za-z0-9])")
Row = dict[str, Any]


def main() -> int:
    args = parse_arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    try:
        rows = measure_real(args) if args.learn_from else measure(args)
    except (SlmSam2Error, ServerError, OSError) as error:
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
        "--volumes",
        type=int,
        nargs="*",
        default=[1, 5],
        help="labels to learn from (%(default)s); none: the second part only",
    )
    parser.add_argument("--unseen", type=int, default=6, help="subjects to measure on (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training at most (%(default)s)")
    parser.add_argument("--skip-forgetting", action="store_true", help="leave out the second part")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for volumes, models, logs and learning.csv"
    )
    real = parser.add_argument_group("real volumes")
    real.add_argument("--learn-from", type=Path, nargs="+", help="folders of the volumes to learn from")
    real.add_argument("--mirror", action="store_true", help="learn from their mirror images")
    real.add_argument("--structures", nargs="+", help="what to learn there")
    real.add_argument("--test-on", type=Path, nargs="+", help="folders of the volumes to measure on")
    real.add_argument("--test-structures", nargs="+", help="what to measure there, of what each volume has")
    args = parser.parse_args()
    if args.learn_from and not (args.structures and args.test_on and args.test_structures):
        parser.error("--learn-from needs --structures, --test-on and --test-structures")
    return args


@dataclass(frozen=True)
class Team:
    """People who label with a server of their own.

    Attributes:
        client: MONAI Label's.
        scratch: folder for what is sent.
        minutes: of a training, at most.
    """

    client: MONAILabelClient
    scratch: Path
    minutes: float

    def submit(self, labels: Sequence[Submission]) -> None:
        """Submit labels, and wait until the server knows what their structures look like.

        Raises:
            ServerError: it does not learn that.
        """
        for label in labels:
            params = {"label_info": [{"name": name, "idx": value} for name, value in label.names.items()]}
            self.client.save_label(label.image_id, str(label.label), tag="final", params=params)
        wanted = Counter(name for label in labels for name in label.names)
        deadline = time.monotonic() + LOOKS_SECONDS
        while not Counter(self.client.info()["looks"]) >= wanted:
            if time.monotonic() > deadline:
                raise ServerError(f"the server has not learnt what {', '.join(wanted)} look like")
            time.sleep(LOOK_SECONDS)

    def train(self) -> str:
        """Train on what was submitted. Returns how long that took.

        Raises:
            ServerError: it failed.
        """
        self.client.train_start("slmsam2", {"minutes": self.minutes})
        while (status := self.client.train_status()["status"]) not in ("DONE", "ERROR"):
            time.sleep(LOOK_SECONDS)
        figures = self.client.info()["train_stats"]["slmsam2"]
        if status == "ERROR":
            raise ServerError(f"the training failed: {figures.get('message')}")
        print(f"{figures['message']} ({figures['total_time']})", flush=True)
        return str(figures["total_time"])

    def row(self, name: str, tasks: Sequence[Task], taken: str = "") -> Row:
        """One line of the table: mean Dice per structure."""
        found: dict[str, list[float]] = {}
        versions = set()
        for task in tasks:
            score, version = self._propagate(task)
            found.setdefault(task.structure, []).append(score)
            versions.add(version)
        scores = {structure: round(fmean(values), 3) for structure, values in found.items()}
        return {"learnt": name, "version": " ".join(versions), **scores, "training": taken}

    def _propagate(self, task: Task) -> tuple[float, str]:
        """Dice from one painted slice, and the version of the model that answered."""
        painted = self.scratch / "painted.nii.gz"
        write_label(painted, task.painted.astype(np.uint8), task.image)
        params = {"label_info": [{"name": task.structure, "id": 1}], "result_extension": ".nii.gz"}
        file, reply = self.client.infer("slmsam2", task.volume_name, params, label_in=str(painted))
        answer = read_label(Path(file))
        Path(file).unlink()
        return dice(answer.array > 0, task.reference), reply["version"]


@contextmanager
def team(images: dict[str, Path], model_dir: Path, minutes: float) -> Iterator[Team]:
    """A server, as users start it, over copies of the images; what it learns stays in ``model_dir``."""
    model_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slmsam2_learning_") as scratch:
        studies = Path(scratch) / "studies"
        studies.mkdir()
        for image_id, path in images.items():
            shutil.copy(path, studies / f"{image_id}.nii.gz")
        log = model_dir / "server.log"
        with running_server(studies, MODEL, log, model_dir=model_dir.resolve()) as url:
            yield Team(MONAILabelClient(url, tmpdir=scratch), Path(scratch), minutes)


def measure(args: argparse.Namespace) -> list[Row]:
    """One row per model, of synthetic subjects."""
    unseen = range(FIRST_UNSEEN, FIRST_UNSEEN + args.unseen)
    shown = {label.image_id: label.image for label in submissions(args.output / "unseen", unseen, [])}
    tasks = [task for number in unseen for task in subject_tasks(number)]
    rows = []
    for count in args.volumes:
        folder = args.output / f"from_{count}"
        labels = submissions(folder, range(count), STRUCTURES)
        with team(shown | images_of(labels), folder / "model", args.minutes) as people:
            if not rows:
                rows.append(people.row("as it comes", tasks))
            people.submit(labels)
            rows.append(people.row(f"{count} submitted", tasks))
            taken = people.train()
            rows.append(people.row(f"{count} trained on", tasks, taken))
    return rows if args.skip_forgetting else rows + forgetting(args, shown, tasks, rows == [])


def forgetting(
    args: argparse.Namespace, shown: dict[str, Path], tasks: Sequence[Task], at_first: bool
) -> list[Row]:
    """The wall from three subjects, then the duct from three others, with and without the wall's labels.

    ``at_first``: a row of the model as it comes is wanted, too.
    """
    rows = []
    first = args.output / "wall"
    wall = submissions(first, range(20, 23), ["wall"])
    with team(shown | images_of(wall), first / "model", args.minutes) as people:
        if at_first:
            rows.append(people.row("as it comes", tasks))
        people.submit(wall)
        taken = people.train()
        rows.append(people.row("wall only", tasks, taken))
    for name, replay in (("wall, then duct", True), ("wall, then duct without replay", False)):
        folder = args.output / ("replay" if replay else "no_replay")
        shutil.copytree(first / "model", folder / "model", symlinks=True, dirs_exist_ok=True)
        duct = submissions(folder, range(30, 33), ["duct"])
        kept = wall if replay else []
        with team(shown | images_of([*kept, *duct]), folder / "model", args.minutes) as people:
            people.submit([*kept, *duct])
            taken = people.train()
            rows.append(people.row(name, tasks, taken))
    return rows


def submissions(folder: Path, numbers: Iterable[int], names: Iterable[str]) -> list[Submission]:
    """Write subjects with the labels of the named structures, as annotators would have submitted them."""
    values = {name: STRUCTURES[name] for name in names}
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        subject = make_subject(number)
        image, label = (folder / f"subject_{number}_{kind}.nii.gz" for kind in ("image", "label"))
        kept = np.where(np.isin(subject.label, list(values.values())), subject.label, 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(subject.image, subject.affine), image)
        nib.save(nib.Nifti1Image(kept, subject.affine), label)
        written.append(Submission(f"subject_{number}", image, label, values))
    return written


def images_of(labels: Iterable[Submission]) -> dict[str, Path]:
    """Image id -> file."""
    return {label.image_id: label.image for label in labels}


def subject_tasks(number: int) -> list[Task]:
    """Each structure of a subject, from its largest slice."""
    subject = make_subject(number)
    image, tasks = Volume(subject.image, subject.affine), []
    for name, value in STRUCTURES.items():
        reference = subject.label == value
        painted, about = largest_slice(reference, AXIS), (subject.label, STRUCTURES)
        tasks.append(Task(f"subject_{number}", name, "largest", image, reference, AXIS, painted, *about))
    return tasks


def measure_real(args: argparse.Namespace) -> list[Row]:
    """Propagation in real volumes before and after learning from others."""
    folders = [mirrored(folder, args.output) if args.mirror else folder for folder in args.learn_from]
    labels = [submission_of(folder, args.structures, args.output) for folder in folders]
    known = {name for folder in args.test_on for name in json.loads((folder / "labels.json").read_text())}
    missing = [name for name in args.test_structures if name not in known]
    if missing:
        raise ConfigurationError(f"No volume to measure on has {', '.join(missing)}.")
    tasks = [task for folder in args.test_on for task in real_tasks(folder, args.test_structures)]
    shown = {folder.name: folder / "image.nii.gz" for folder in args.test_on}
    with team(shown | images_of(labels), args.output / "model", args.minutes) as people:
        before = people.row("as it comes", tasks)
        people.submit(labels)
        submitted = people.row(f"{len(labels)} submitted", tasks)
        taken = people.train()
        return [before, submitted, people.row(f"{len(labels)} trained on", tasks, taken)]


def real_tasks(folder: Path, names: Sequence[str]) -> Iterator[Task]:
    """Those of the named structures that a volume has, from their largest slices."""
    there = json.loads((folder / "labels.json").read_text())
    benchmark = Benchmark(folder.parent, {folder.name: [one for one in names if one in there]}, {})
    return tasks_of(benchmark, folder.name, ("largest",))


def mirrored(folder: Path, output: Path) -> Path:
    """The mirror image of a volume, in which what was on the left is on the right, and is called so."""
    written = output / f"mirrored_{folder.name}"
    written.mkdir(parents=True, exist_ok=True)
    for name in ("image.nii.gz", "label.nii.gz"):
        file = nib.load(folder / name)
        across = int(np.flatnonzero(nib.io_orientation(file.affine)[:, 0] == 0)[0])
        flipped = np.flip(np.asanyarray(file.dataobj), across)
        nib.save(nib.Nifti1Image(flipped, file.affine, file.header), written / name)
    values = json.loads((folder / "labels.json").read_text())
    (written / "labels.json").write_text(
        json.dumps({other_side(name): value for name, value in values.items()})
    )
    return written


def other_side(name: str) -> str:
    """ "hip_left" for "hip_right", "Putamen_R" for "Putamen_L"; a name without a side stays."""
    return SIDE.sub(lambda found: SIDES[found[0]], name)


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


def print_rows(rows: Sequence[Row]) -> None:
    names = [name for name in rows[0] if name not in ("learnt", "version", "training")]
    print(f"\n{'learnt':32} {'version':12} " + " ".join(f"{name:>6}" for name in names) + "  training")
    for one in rows:
        dices = " ".join(f"{one[name]:{max(6, len(name))}.3f}" for name in names)
        print(f"{one['learnt']:32} {one['version']:12} {dices}  {one['training']:>8}")


if __name__ == "__main__":
    sys.exit(main())
