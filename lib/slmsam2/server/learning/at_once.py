"""What is learnt of submitted labels at once, long before a training."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Protocol

from slmsam2.errors import CheckpointError, SlmSam2Error
from slmsam2.server.datastore.pacs_client import is_of_one
from slmsam2.server.learning.submissions import Submitted
from slmsam2.training.labelled import Case, CaseLoader

logger = logging.getLogger(__name__)


class Learner(Protocol):
    """Something that is learnt, and kept per image."""

    def to_learn(self, labelled: Mapping[str, str], changed: Collection[str]) -> list[str]:
        """Forget images that are not among those labelled, or otherwise; which ones to learn from now, in that order.

        Args:
            labelled: all images with a label to learn from -> its mark, see
                :meth:`slmsam2.server.learning.submissions.Submitted.marks`.
            changed: those of them that were submitted now; others may be new all the same.
        """
        ...

    def learn(self, case: Case, load: CaseLoader) -> None:
        """Learn from one label."""
        ...


def learn_from(
    submitted: Submitted, changed: Collection[str], learners: Sequence[Learner], most_voxels: int
) -> None:
    """Learn from labels that were submitted now, and from those that were not seen yet, as they are now, reading each
    once.

    Args:
        submitted: the labels.
        changed: ids of the images; none: only to catch up.
        most_voxels: bound on images and labels.
    """
    labelled = submitted.marks()
    try:
        wanted = [learner.to_learn(labelled, changed) for learner in learners]
    except CheckpointError as error:
        logger.warning("Nothing is learnt of submitted labels: %s", error)
        return
    for image_id in dict.fromkeys(chain.from_iterable(wanted)):
        load = CaseLoader()
        try:
            case = submitted.read(image_id, load, most_voxels)
            for learner, images in zip(learners, wanted, strict=True):
                if case is not None and image_id in images:
                    learner.learn(case, load)
        except Exception as error:
            if not isinstance(error, (SlmSam2Error, OSError)) and not is_of_one(error):
                raise
            logger.info("Structures in the label of %s cannot be learnt: %s", image_id, error)
