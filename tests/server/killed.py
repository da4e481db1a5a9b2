"""A server that is killed at random moments while people save, infer, train and open sessions; what is left then."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import requests
from server_process import Server, running_server
from server_studies import AFFINE, painted_slice, phantom

SHAPE = (20, 18, 7)
IMAGES = ("first", "second")
PAUSE = 0.3  # seconds between two saves of an annotator
NAMES = json.dumps([{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}])
TRAINING = {"minutes": 0.2, "preset": "small"}


@dataclass
class Tally:
    """What happened and what was found.

    Attributes:
        counts: kills, what they met, what was acknowledged; and what must be 0: lost, half, failed.
        saved: image -> numbers of the labels that were acknowledged.
        sessions: ids that were acknowledged.
        problems: what was wrong, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    saved: dict[str, list[int]] = field(default_factory=lambda: {image: [] for image in IMAGES})
    sessions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def found(self, kind: str, what: str) -> None:
        """Note something that must not be."""
        self.counts[kind] += 1
        self.problems.append(what)


def make_killed_studies(folder: Path) -> Path:
    """Two images."""
    folder.mkdir()
    for number, image in enumerate(IMAGES):
        nib.save(nib.Nifti1Image(phantom(SHAPE)[0] + number, AFFINE), folder / f"{image}.nii.gz")
    return folder


def body(number: int) -> bytes:
    """A label, gzipped NIfTI, that tells its number; the same bytes each time."""
    label = nib.Nifti1Image(phantom(SHAPE)[1], AFFINE)
    label.header["descrip"] = str(number)
    return gzip.compress(label.to_bytes(), compresslevel=1, mtime=0)


def kill_again_and_again(
    base: Path, kills: int, seed: int, longest: float, tell: Callable[[str], None] = lambda line: None
) -> Tally:
    """Start a server, let people work, kill it within ``longest`` seconds, look at what is left; ``kills`` times.

    Args:
        base: an empty folder.
        seed: of the moments.
        tell: gets a line about each kill.
    """
    chance, tally = random.Random(seed), Tally()
    studies = make_killed_studies(base / "studies")
    (base / "model").mkdir()
    for _ in range(kills):
        with _started(base, studies, tally) as server:
            check(server, tally)
            seconds = chance.uniform(0, longest)
            met = _work_until_killed(server, seconds, tally)
            tell(f"killed after {seconds:.2f} s, while {', '.join(sorted(met)) or 'nothing was under way'}")
    with _started(base, studies, tally) as server:
        check(server, tally, all_labels=True)
    return tally


def _started(base: Path, studies: Path, tally: Tally) -> Any:
    tally.counts["starts"] += 1
    return running_server(base, studies, "--conf", "model_dir", base / "model")


def _work_until_killed(server: Server, seconds: float, tally: Tally) -> set[str]:
    """Returns what was under way."""
    under_way: Counter[str] = Counter()
    people = [
        threading.Thread(target=_work, args=(server, tally, under_way, *task))
        for task in (
            *(("saving", _save, image) for image in IMAGES),
            ("inferring", _infer, ""),
            ("session", _open, ""),
        )
    ]
    requests.post(f"{server.url}/train/slmsam2", json=TRAINING, timeout=60)
    for person in people:
        person.start()
    time.sleep(seconds)
    met = {what for what, number in under_way.items() if number}
    jobs = psutil.Process(server.process.pid).children(recursive=True)
    if any("train" in job.cmdline() for job in jobs):
        met.add("training")
    server.kill()
    for person in people:
        person.join()
    tally.counts["kills"] += 1
    tally.counts.update(f"while {what}" for what in met)
    return met


def _work(server: Server, tally: Tally, under_way: Counter[str], what: str, task: Any, image: str) -> None:
    while True:
        under_way[what] += 1
        try:
            task(server, tally, image)
        except requests.RequestException:
            return
        finally:
            under_way[what] -= 1
        time.sleep(0 if what == "inferring" else PAUSE)


def _save(server: Server, tally: Tally, image: str) -> None:
    tally.counts["numbered"] += 1
    number = 2 * tally.counts["numbered"] + IMAGES.index(image)
    answer = requests.put(
        f"{server.url}/datastore/label?image={image}&tag=final",
        files={"label": ("label.nii.gz", body(number))},
        data={"params": json.dumps({"client_id": f"who{number}", "label_info": json.loads(NAMES)})},
        timeout=60,
    )
    if answer.status_code == 200:
        tally.saved[image].append(number)
        tally.counts["labels"] += 1


def _infer(server: Server, tally: Tally, image: str) -> requests.Response:
    """As an annotator whose proposals are kept."""
    painted = nib.Nifti1Image(painted_slice(phantom(SHAPE)[1], 3), AFFINE)
    return requests.post(
        f"{server.url}/infer/slmsam2?image={IMAGES[0]}&output=image",
        files={"label": ("label.nii.gz", gzip.compress(painted.to_bytes()))},
        data={"params": json.dumps({"save_label": True, "label_tag": "original", "start_anew": True})},
        timeout=60,
    )


def _open(server: Server, tally: Tally, image: str) -> None:
    answer = requests.put(f"{server.url}/session/", files={"files": ("label.nii.gz", body(0))}, timeout=60)
    if answer.status_code == 200:
        tally.sessions.append(answer.json()["session_id"])
        tally.counts["sessions"] += 1


def check(server: Server, tally: Tally, *, all_labels: bool = False) -> None:
    """Look at everything that a killed server left, with one that was just started.

    Args:
        all_labels: also those acknowledged before the last kill but one.
    """
    listed = requests.get(f"{server.url}/datastore/?output=all", timeout=60).json()["objects"]
    for image, numbers in tally.saved.items():
        _check_labels(server, image, listed, numbers if all_labels else numbers[-30:], tally)
    check_files(server.studies, listed, tally)
    for session in tally.sessions if all_labels else tally.sessions[-5:]:
        if requests.get(f"{server.url}/session/{session}", timeout=60).status_code != 200:
            tally.found("lost", f"session {session}")
    answer = _infer(server, tally, "")
    if answer.status_code != 200:
        tally.found("failed", f"inference after a start: {answer.status_code} {answer.text}")
    for path in ("/info/", "/slmsam2/health"):
        if requests.get(server.url + path, timeout=60).status_code != 200:
            tally.found("failed", f"{path} after a start")


def _check_labels(
    server: Server, image: str, listed: dict[str, Any], numbers: list[int], tally: Tally
) -> None:
    """Each label that was acknowledged is one of the image's, bit for bit, and can be had from the server."""
    folder = server.studies / "labels"
    files = {tag: folder / tag / f"{image}.nii.gz" for tag in listed[image]["labels"]}
    there = {_number(path): (tag, path) for tag, path in files.items() if tag != "original"}
    for number in numbers:
        if number not in there:
            tally.found("lost", f"label {number} of {image}")
        elif there[number][1].read_bytes() != body(number):
            tally.found("half", f"label {number} of {image} is not what was sent")
    if numbers:
        tag, _ = there.get(numbers[-1], ("final", None))
        answer = requests.get(f"{server.url}/datastore/label?label={image}&tag={tag}", timeout=60)
        if answer.content != body(numbers[-1]):
            tally.found("lost", f"label {numbers[-1]} of {image} as the server sends it")


def _number(path: Path) -> int:
    try:
        return int(nib.load(path).header["descrip"].item())
    except (OSError, ValueError, nib.filebasedimages.ImageFileError):
        return -1


def check_files(studies: Path, listed: dict[str, Any], tally: Tally) -> None:
    """Each file is whole, the index fits the files, and nothing else lies there."""
    index = json.loads((studies / "datastore_v2.json").read_text())
    named = {studies / f"{image}.nii.gz" for image in listed}
    named |= {
        studies / "labels" / tag / f"{i}.nii.gz" for i, entry in listed.items() for tag in entry["labels"]
    }
    if index["objects"].keys() != set(IMAGES) or listed.keys() != set(IMAGES):
        tally.found("half", f"images listed: {sorted(listed)}")
    files = {path for path in studies.rglob("*") if path.is_file()}
    own = {studies / "datastore_v2.json", studies / ".lock"}
    for path in sorted(files ^ (named | own)):
        tally.found("half", f"{path.relative_to(studies)} is {'not listed' if path in files else 'missing'}")
    for path in sorted(files - own):
        try:
            np.asarray(nib.load(path).dataobj)
        except (OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
            tally.found("half", f"{path.relative_to(studies)}: {error}")
