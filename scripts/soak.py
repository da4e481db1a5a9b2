#!/usr/bin/env python
"""Many annotators at once, for minutes: do all get answers, fairly, from a server that stays as it was?

    .venv/bin/python scripts/soak.py                         # 16 annotators, 10 minutes, a server of its own
    .venv/bin/python scripts/soak.py --annotators 4 --minutes 2 --url http://127.0.0.1:8000

Each annotator takes the next sample or uploads an image, paints a slice of an organ and has it propagated, clicks on a
slice, submits; some change their minds and cancel. All ask with MONAI Label's own client; who is told to come back
later does. Prints a table; the exit status is 1 if anything was answered with a 5xx, or not at all. A server that is
named gets images (`soak-...`) and labels: use one whose studies may be thrown away.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from demo import IMAGE_ID, STUDY
from local_server import REPOSITORY, ServerError, running_server

sys.path.insert(0, str(REPOSITORY / "lib"))

from slmsam2.masks import largest_slice, only_slice
from slmsam2.volume import default_axis, read_label, read_volume, write_label
from slmsam2.volume.nifti import nifti_image

ORGANS = ("liver", "spleen", "kidney_right", "kidney_left", "pancreas")
CANCELLED = 0.15  # of the propagations
CLICKED = 0.7  # of the rounds
UPLOADED = 0.1
THINKING = (1.0, 4.0)  # seconds between two requests of a person
NOISE = 5.0  # Hounsfield units
NO_ANSWER = 599  # stands for a broken connection
LOOK_EVERY = 0.5  # seconds between two questions for /info/
PARTS, WHEN = (
    (0.1, 0.3, 0.5, 0.7, 0.95),
    "a tenth, three, five and seven tenths, at the end",
)  # memory is told


@dataclass(frozen=True)
class Painted:
    """A painted slice: its label file, the organ's name, a voxel in it."""

    file: Path
    organ: str
    voxel: list[int]


class Images:
    """The bundled CT, with other noise each time: no two images have a slice in common, so nothing is known of them.

    Args:
        folder: where uploads are made.
    """

    def __init__(self, folder: Path) -> None:
        self._volume, self._folder = read_volume(STUDY / "image.nii.gz"), folder

    def make(self, name: str) -> Path:
        """The file of a new image."""
        chance = np.random.default_rng(list(name.encode()))
        noise = chance.normal(0, NOISE, self._volume.shape)
        path = self._folder / f"{name}.nii"
        nib.save(nifti_image((self._volume.array + noise).astype(np.int16), self._volume), path)
        return path


@dataclass
class Notes:
    """What all annotators saw.

    Attributes:
        answers: (kind of request, status) -> how many.
        waits: annotator -> seconds that each propagation waited for its turn.
        told_to_wait: how often a request was made again after a 429.
        problems: sentences of answers that should not be.
        looks: seconds of each answer to /info/.
        memory: bytes of the server, and those that it keeps for later requests, time after time.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    waits: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    told_to_wait: int = 0
    problems: list[str] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Annotator:
    """One person's work, over and over, until the time is up."""

    def __init__(self, number: int, url: str, painted: list[Painted], notes: Notes, folder: Path) -> None:
        self._images = Images(folder)
        self._number, self._painted, self._notes, self._url = number, painted, notes, url
        self._chance = random.Random(number)
        self._name = f"annotator-{number}"
        self._client = MONAILabelClient(url, tmpdir=str(folder), client_id=self._name)
        self._uploads = 0

    def work(self, end: float) -> None:
        """Rounds until ``end`` (``time.monotonic``)."""
        while time.monotonic() < end:
            self._label(self._next_image(), self._chance.choice(self._painted))

    def _label(self, image: str, painted: Painted) -> None:
        result = self._propagate(image, painted)
        if self._chance.random() < CLICKED:
            self._think()
            self._click(image, painted)
        if result is not None:
            self._think()
            info = {"label_info": [{"name": painted.organ, "idx": 1}]}
            self._ask("submit", lambda: self._client.save_label(image, str(result), "final", info))
            result.unlink()

    def _next_image(self) -> str:
        if self._chance.random() > UPLOADED:
            given = self._ask("next sample", lambda: self._client.next_sample("random", {}), allowed=(409,))
            if given and str(given["id"]).startswith((IMAGE_ID, "soak-")):
                return str(given["id"])
        self._uploads += 1
        name = f"soak-{self._number}-{self._uploads}-{int(time.time())}"
        file = self._images.make(name)
        self._ask("upload", lambda: self._client.upload_image(str(file), name))
        file.unlink()
        return name

    def _propagate(self, image: str, painted: Painted) -> Path | None:
        """The result's file; None when it was cancelled."""
        request_id = f"{self._name}-{time.monotonic_ns()}"
        params = {"label_info": [{"name": painted.organ, "id": 1}], "request_id": request_id}
        if self._chance.random() < CANCELLED:
            timer = threading.Timer(self._chance.uniform(1, 10), self._cancel, [request_id])
            timer.start()
        answer = self._ask(
            "propagate",
            lambda: self._client.infer("slmsam2", image, dict(params), str(painted.file)),
            allowed=(409,),
        )
        if answer is None:
            return None
        file, reply = answer
        with self._notes.lock:
            self._notes.waits[self._number].append(reply["latencies"]["wait"])
        return Path(file)

    def _cancel(self, request_id: str) -> None:
        requests.delete(f"{self._url}/slmsam2/progress/{request_id}", timeout=60)  # 404: done already

    def _click(self, image: str, painted: Painted) -> None:
        params = {"foreground": [painted.voxel], "label": painted.organ}
        answer = self._ask("click", lambda: self._client.infer("slmsam2_slice", image, dict(params)))
        if answer is not None:
            Path(answer[0]).unlink()

    def _think(self) -> None:
        time.sleep(self._chance.uniform(*THINKING))

    def _ask(self, kind: str, request: Callable[[], Any], allowed: tuple[int, ...] = ()) -> Any:
        """The answer, after as many tries as 429 asks for; None for one of the statuses that may be."""
        while True:
            try:
                answer = request()
            except MONAILabelClientException as error:
                status, sentence = status_of(error)
            except OSError as error:
                status, sentence = NO_ANSWER, str(error)
            else:
                status, sentence = 200, ""
            with self._notes.lock:
                self._notes.answers[kind, status] += 1
            if status == 200:
                return answer
            later = re.search(r"Ask again in (\d+) s", sentence) if status == 429 else None
            if later is None:
                if status not in allowed:
                    with self._notes.lock:
                        self._notes.problems.append(f"{kind}: {status} {sentence[:300]}")
                return None
            with self._notes.lock:
                self._notes.told_to_wait += 1
            time.sleep(int(later[1]))


def status_of(error: MONAILabelClientException) -> tuple[int, str]:
    """Status and sentence of an answer that the client does not take."""
    found = re.match(r"Status: (\d+); Response: (.*)", str(error.msg), re.DOTALL)
    return (int(found[1]), found[2]) if found else (NO_ANSWER, str(error.msg))


def main() -> int:
    args = parse_arguments()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="slmsam2_soak_") as scratch,
            address(args, Path(scratch)) as url,
        ):
            notes, seconds = soak(args, url, Path(scratch))
    except ServerError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print_table(args.annotators, notes, seconds)
    return int(any(status >= 500 for _, status in notes.answers))


def parse_arguments() -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--annotators", type=int, default=16, help="people at work (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="for how long (%(default)s)")
    parser.add_argument(
        "--url",
        help="a server that runs; without, one is started on copies of the bundled CT, each with noise of its own",
    )
    parser.add_argument(
        "--model", default="slm_sam2_nano", help="of the server that is started (%(default)s)"
    )
    parser.add_argument(
        "--kept",
        type=int,
        default=512,
        help="megabytes it keeps for later requests; few, so that the bound is soon reached (%(default)s)",
    )
    parser.add_argument(
        "--log", type=Path, default=REPOSITORY / "output" / "soak.log", help="the server's log"
    )
    return parser.parse_args()


@contextmanager
def address(args: argparse.Namespace, scratch: Path) -> Iterator[str]:
    """The server that was named, or one with an image for each annotator."""
    if args.url:
        yield args.url.rstrip("/")
        return
    studies = scratch / "studies"
    studies.mkdir()
    images = Images(studies)
    for number in range(args.annotators):
        images.make(f"{IMAGE_ID}{number}")
    args.log.parent.mkdir(parents=True, exist_ok=True)
    with running_server(studies, args.model, args.log, most_kept_megabytes=args.kept) as url:
        yield url


def soak(args: argparse.Namespace, url: str, scratch: Path) -> tuple[Notes, float]:
    """Let everybody work; what they saw, and how many seconds it took until the last one was done."""
    painted, notes = painted_slices(scratch), Notes()
    begin = time.monotonic()
    end = begin + args.minutes * 60
    done = threading.Event()
    watchers = [
        threading.Thread(target=watch, args=[look, url, notes, done])
        for look in (look_at_info, look_at_memory)
    ]
    people = []
    for number in range(args.annotators):
        folder = scratch / f"annotator-{number}"
        folder.mkdir()
        people.append(
            threading.Thread(target=Annotator(number, url, painted, notes, folder).work, args=[end])
        )
    for thread in [*watchers, *people]:
        thread.start()
    for thread in people:
        thread.join()
    done.set()
    for thread in watchers:
        thread.join()
    return notes, time.monotonic() - begin


def painted_slices(scratch: Path) -> list[Painted]:
    """The largest slice of each organ of the bundled CT, and a voxel in the middle of it."""
    image, reference = read_volume(STUDY / "image.nii.gz"), read_label(STUDY / "label.nii.gz")
    values = json.loads((STUDY / "labels.json").read_text())
    axis, painted = default_axis(image), []
    for organ in (organ for organ in ORGANS if organ in values):
        mask = reference.array == values[organ]
        slice_mask = only_slice(mask, axis, largest_slice(mask, axis))
        inside = np.argwhere(slice_mask)
        middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
        file = scratch / f"{organ}.nii.gz"
        write_label(file, slice_mask.astype(np.uint8), image)
        painted.append(Painted(file, organ, middle.tolist()))
    return painted


def watch(look: Callable[[str, Notes], None], url: str, notes: Notes, done: threading.Event) -> None:
    """Look again and again, until all is done."""
    while not done.wait(LOOK_EVERY):
        look(url, notes)


def look_at_info(url: str, notes: Notes) -> None:
    start = time.perf_counter()
    status = requests.get(f"{url}/info/", timeout=120).status_code
    with notes.lock:
        notes.looks.append(time.perf_counter() - start)
        notes.answers["/info/", status] += 1


def look_at_memory(url: str, notes: Notes) -> None:
    answer = requests.get(f"{url}/slmsam2/metrics", timeout=120)
    if not answer.ok:  # deploy/nginx.conf does not pass them on
        return
    resident, kept = (
        sum(map(float, re.findall(rf"^{name} (\S+)$", answer.text, re.MULTILINE)))
        for name in ("process_resident_memory_bytes", r"slmsam2_kept_bytes\{.*\}")
    )
    notes.memory.append((resident, kept))


def print_table(annotators: int, notes: Notes, seconds: float) -> None:
    total = sum(notes.answers.values())
    failed = sum(number for (_, status), number in notes.answers.items() if status >= 500)
    means = [statistics.mean(waits) for waits in notes.waits.values()]
    waits = [wait for each in notes.waits.values() for wait in each]
    print(f"\n{annotators} annotators, {seconds / 60:.1f} minutes\n\n| what | |\n|---|---|")
    print(f"| requests | {total} |")
    for kind in dict.fromkeys(kind for kind, _ in notes.answers):
        by_status = {status: n for (k, status), n in sorted(notes.answers.items()) if k == kind}
        print(f"| {kind} | {', '.join(f'{n} x {status}' for status, n in by_status.items())} |")
    print(f"| answers 5xx | {failed} |")
    print(f"| told to ask again later (429) | {notes.told_to_wait} |")
    if waits:
        print(
            f"| wait for a propagation's turn, median and longest | {percentile(waits, 50):.1f} s, {max(waits):.1f} s |"
        )
        fair = f"{min(means):.1f} to {max(means):.1f} s (ratio {max(means) / max(min(means), 1e-3):.2f})"
        print(f"| mean wait of each annotator | {fair} |")
    looks = [f"{percentile(notes.looks, part):.2f} s" for part in (50, 99, 100)]
    print(f"| `/info/`, median, 99th percentile, longest | {', '.join(looks)} |")
    memory = ", ".join(memory_at(notes.memory)) or "not told"
    print(f"| memory of the server (kept for later requests), after {WHEN} | {memory} |")
    for problem, number in Counter(notes.problems).most_common(10):
        print(f"\n{number} x {problem}")


def memory_at(memory: list[tuple[float, float]]) -> list[str]:
    """In MB; each the median of the looks around it."""
    places = [int(len(memory) * part) for part in PARTS]
    around = [np.median(memory[max(0, place - 5) : place + 6], axis=0) / 1e6 for place in places if memory]
    return [f"{resident:.0f} ({kept:.0f}) MB" for resident, kept in around]


def percentile(values: list[float], part: float) -> float:
    return float(np.percentile(values, part)) if values else float("nan")


if __name__ == "__main__":
    sys.exit(main())
