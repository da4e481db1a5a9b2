"""The next image by what the image encoder sees: the one least like those that are labelled."""

from __future__ import annotations

import logging
import random

import numpy as np
from monailabel.interfaces.datastore import Datastore

from slmsam2.errors import SlmSam2Error
from slmsam2.server.sampling.base import Choice, Sampling
from slmsam2.server.sampling.handed_out import HandedOut
from slmsam2.server.sampling.vectors import VectorStore, interleaved

logger = logging.getLogger(__name__)


class MostDifferent(Sampling):
    """The image farthest from its nearest one that is labelled or being worked on.

    This is the greedy k-centre choice of a core set (Sener and Savarese, 2018, arXiv 1708.00489). As long as nothing is
    labelled, the most typical image comes first: the medoid.

    Args:
        handed: shared by all strategies.
        store: gives the vectors that are compared.
    """

    def __init__(self, handed: HandedOut, store: VectorStore) -> None:
        super().__init__("The image that looks least like those that are labelled", handed)
        self._store = store

    def rank(self, images: list[str], datastore: Datastore) -> list[Choice]:
        done = sorted(set(datastore.list_images()) - set(images))  # labelled, or in somebody's hands
        try:
            vectors = self._store.vectors(interleaved(done, images), datastore)
        except SlmSam2Error as error:
            logger.warning("Images are chosen at random, they cannot be compared: %s", error)
            vectors = {}
        compared = [image for image in images if image in vectors]
        others = random.sample(
            [image for image in images if image not in vectors], len(images) - len(compared)
        )
        return _ranked(compared, [image for image in done if image in vectors], vectors) + [
            Choice(image, None, "It was not compared with others: no time yet, or it cannot be read.")
            for image in others
        ]


def _ranked(images: list[str], done: list[str], vectors: dict[str, np.ndarray]) -> list[Choice]:
    """The images with vectors, best first."""
    if not images:
        return []
    mine = np.stack([vectors[image] for image in images])
    if done:
        scores = _distances(mine, np.stack([vectors[image] for image in done])).min(axis=1)
        order = np.argsort(-scores, kind="stable")
        reason = (
            f"Of {len(images)} images it looks least like the {len(done)} that are labelled or worked on."
        )
    else:
        scores = _distances(mine, mine).mean(axis=1)
        order = np.argsort(scores, kind="stable")
        reason = f"Nothing is labelled yet: it is the most typical of {len(images)} images."
    return [Choice(images[index], float(scores[index]), reason) for index in order]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances (n, m) between vectors of length 1, (n, D) and (m, D)."""
    return np.sqrt(np.maximum(2 - 2 * (a @ b.T), 0))
