"""What is learnt of submitted labels at once, long before a training."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Protocol

from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import SlmSam2Error
from slmsam2.server.submissions import read_submitted, submitted_images
from slmsam2.training.labelled import Case, CaseLoader

logger = logging.getLogger(__name__)


class Learner(Protocol):
    """Something that is learnt, and kept per image."""

    def to_learn(self, labelled: Sequence[str], changed: Collection[str]) -> list[str]:
        """Forget images that are not among those labelled; which ones to learn from now, in that order.

        Args:
            labelled: all images with a final label.
            changed: those of them that were submitted now; others may be new all the same.
        """
        ...

    def learn(self, case: Case, load: CaseLoader) -> None:
        """Learn from one label."""
        ...


def learn_from(
    datastore: Datastore, changed: Collection[str], learners: Sequence[Learner], most_voxels: int
) -> None:
    """Learn from labels that were submitted now, and from those before that were not seen yet, reading each once.

    Args:
        datastore: where the labels are.
        changed: ids of the images.
        most_voxels: bound on images and labels.
    """
    labelled = submitted_images(datastore)
    wanted = [learner.to_learn(labelled, changed) for learner in learners]
    for image_id in dict.fromkeys(chain.from_iterable(wanted)):
        load = CaseLoader()
        try:
            case = read_submitted(datastore, image_id, load, most_voxels)
            for learner, images in zip(learners, wanted, strict=True):
                if case is not None and image_id in images:
                    learner.learn(case, load)
        except (SlmSam2Error, OSError, LookupError) as error:
            logger.info("Structures in the label of %s cannot be learnt: %s", image_id, error)
