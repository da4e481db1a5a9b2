"""How much people still correct: proposals beside what was submitted in the end."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.tasks.scoring import ScoringMethod

from slmsam2.errors import StorageError, VolumeError
from slmsam2.files import stamp_of
from slmsam2.metrics import dice
from slmsam2.prompts import label_names, named_values
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.datastore.pacs_client import is_of_one
from slmsam2.server.memory.proposals import Proposal, Proposals
from slmsam2.server.requests.study import label_file
from slmsam2.server.running.process import server_application
from slmsam2.server.running.shortage import is_for_now, room_for
from slmsam2.volume import Volume, label_on_grid, read_label

logger = logging.getLogger(__name__)

KEY = "correction"  # of the result in an image's info, and of the summary in the app's
NEWEST = 10  # submissions that show how it is now
_TAGS = (DefaultLabelTag.ORIGINAL.value, DefaultLabelTag.FINAL.value)  # proposal, submission


class DiceScoring(ScoringMethod):
    """Dice of proposals (tag ``original``) with submissions (tag ``final``), per image and structure.

    Where no proposal was saved, what the server proposed first counts: it remembers that for a while. The result of
    each image goes into its info under ``correction``: ``dice`` (mean over structures), ``per_structure``, ``ts`` (when
    it was submitted), ``files`` (by which a change is noticed), or a ``problem``. A pair whose files did not change is
    not read again.

    Args:
        proposals: what was proposed and not saved.
    """

    def __init__(self, proposals: Proposals | None = None) -> None:
        super().__init__("Dice of proposals with submissions: how much people still correct")
        self._proposals = proposals or Proposals()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, float]:
        """Score what is new.

        Returns:
            image id -> Dice, of all pairs that could be compared, new or not.
        """
        result = {}
        for image in datastore.list_images():
            proposal, submission = _files(datastore, image)
            if submission is None:
                continue
            score = _noted(datastore, image)
            try:
                stamps = [stamp_of(path) for path in (proposal, submission) if path is not None]
            except FileNotFoundError:  # deleted meanwhile
                continue
            if score.get("files") != stamps:
                proposed = proposal or self._proposals.of(image)
                if not proposed:
                    continue
                compared = _compare(datastore, image, proposed, submission)
                if compared is None:
                    continue
                score = {**compared, "files": stamps, "ts": _submitted(datastore, image)}
                _note(datastore, image, score)
            if _is_complete(score):
                result[image] = score["dice"]
        return result


def correction_summary(datastore: Datastore) -> dict[str, Any]:
    """How much people still correct, from what was noted with the images; no file is opened.

    What was submitted and deleted since, or replaced by what could not be compared, does not count.

    Returns:
        ``images`` (how many were compared), ``dice`` and ``per_structure`` (name -> Dice), means over these images, and
        ``newest``: the same of the last 10 submissions, with the time ``ts`` (seconds since 1970) of the last.
        Dice are None while there is nothing to compare.
    """
    noted = ((image, _noted(datastore, image)) for image in datastore.list_images())
    valid = (score for image, score in noted if _is_complete(score) and _is_of_now(datastore, image, score))
    scores = sorted(valid, key=lambda score: score["ts"])
    newest = scores[-NEWEST:]
    return {**_means(scores), "newest": {**_means(newest), "ts": newest[-1]["ts"] if newest else None}}


def _means(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_name: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        for name, value in score["per_structure"].items():
            by_name[name].append(value)
    return {
        "images": len(scores),
        "dice": round(float(np.mean([score["dice"] for score in scores])), 4) if scores else None,
        "per_structure": {name: round(float(np.mean(values)), 4) for name, values in sorted(by_name.items())},
    }


def _files(datastore: Datastore, image: str) -> list[Path | None]:
    """Those of the saved proposal and of the submission, as far as they are here or a PACS sends them."""
    try:
        saved = datastore.get_labels_by_image_id(image)
    except Exception as error:
        if not is_of_one(error):
            raise
        logger.warning("The label of %s is not compared with its proposal: %s", image, error)
        return [None, None]
    return [label_file(datastore, saved[tag], tag) if tag in saved else None for tag in _TAGS]


def _noted(datastore: Datastore, image: str) -> dict[str, Any]:
    note = datastore.get_image_info(image).get(KEY)
    return note if isinstance(note, dict) else {}


def _is_complete(score: Mapping[str, Any]) -> bool:
    """Whether a pair was compared; clients can write anything into an image's info."""
    each = score.get("per_structure")
    return isinstance(each, dict) and all(
        isinstance(number, (int, float)) for number in (score.get("dice"), score.get("ts"), *each.values())
    )


def _is_of_now(datastore: Datastore, image: str, score: Mapping[str, Any]) -> bool:
    """Whether a score is that of the label which is the final one now, by the datastore's own record."""
    if not isinstance(datastore, LocalDatastore):  # others would have to be asked over the network
        return True
    return bool(datastore.get_label_info(image, DefaultLabelTag.FINAL.value).get("ts") == score["ts"])


def _submitted(datastore: Datastore, image: str) -> int:
    final = DefaultLabelTag.FINAL.value
    info = datastore.get_label_info(datastore.get_label_by_image_id(image, final), final)
    return int(info.get("ts") or time.time())


def _note(datastore: Datastore, image: str, score: dict[str, Any]) -> None:
    """Keep the result in the image's info; without one it is scored again another time."""
    if server_application() is None:
        datastore.refresh()  # or a job would write its old list of labels over what was submitted meanwhile
    try:
        datastore.update_image_info(image, {KEY: score})
    except (MONAILabelException, OSError, StorageError) as error:
        logger.warning("The score of %s could not be noted: %s", image, error or type(error).__name__)


def _compare(
    datastore: Datastore, image: str, proposed: Path | Mapping[str, Proposal], submitted: Path
) -> dict[str, Any] | None:
    """Dice of what was proposed, saved or remembered, with what was submitted, or what stands against it; None when
    memory ran short, so that this cannot be told now."""
    proposal_info, info = (
        datastore.get_label_info(datastore.get_label_by_image_id(image, tag), tag) for tag in _TAGS
    )
    files = [path for path in (proposed, submitted) if isinstance(path, Path)]
    try:
        with room_for(sum(inspect(path) for path in files)):
            submission = read_label(submitted)
            if isinstance(proposed, Path):
                proposal = read_label(proposed)
                on_grid = label_on_grid(submission, proposal)
                scores = structure_dice(proposal.array, on_grid, proposal_info, info)
            else:
                scores = _remembered_dice(proposed, submission, info)
    except (VolumeError, OSError, MemoryError) as error:
        logger.warning("Proposal and submission of %s cannot be compared: %s", image, error)
        if is_for_now(error):
            return None
        return {"dice": None, "per_structure": {}, "problem": str(error)}
    mean = round(float(np.mean(list(scores.values()))), 4) if scores else None
    return {"dice": mean, "per_structure": scores}


def _remembered_dice(
    proposals: Mapping[str, Proposal], submission: Volume, info: dict[str, Any]
) -> dict[str, float]:
    """Dice of each structure that was proposed and submitted; others may be of another annotator.

    Args:
        proposals: by structure name; one at a time takes its whole size in memory.
        info: what was saved with the submission.
    """
    values = named_values(label_names(info), submission.array)
    scores = {}
    for name in values.keys() & proposals.keys():
        proposal = proposals[name].unpack()
        scores[name] = round(dice(proposal.array, label_on_grid(submission, proposal) == values[name]), 4)
    return scores


def structure_dice(
    proposal: np.ndarray,
    submission: np.ndarray,
    proposal_info: dict[str, Any],
    submission_info: dict[str, Any],
) -> dict[str, float]:
    """Dice of each structure that was proposed; one that was not submitted at all has 0.

    Args:
        proposal, submission: integers (I, J, K) on one grid; 0 is background.
        proposal_info, submission_info: what was saved with them. Structures are the same by name; values without a
            name in the submission have that of the proposal.
    """
    proposed = named_values(label_names(proposal_info), proposal)
    by_value = {value: name for name, value in proposed.items()}
    submitted = named_values(label_names(submission_info), submission, otherwise=by_value)
    return {
        name: round(dice(proposal == value, submission == submitted[name]), 4) if name in submitted else 0.0
        for name, value in proposed.items()
    }
