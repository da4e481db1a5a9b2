"""Two ways to choose the next image: at random, and where the model is least sure."""

from __future__ import annotations

import random

from monailabel.interfaces.datastore import Datastore

from slmsam2.server.sampling.base import Choice, Sampling
from slmsam2.server.sampling.confidence import recorded_confidence
from slmsam2.server.sampling.handed_out import HandedOut
from slmsam2.server.sampling.most_different import MostDifferent


class Random(Sampling):
    """Any image, each as likely as the others."""

    def __init__(self, handed: HandedOut) -> None:
        super().__init__("Any image that nobody has labelled or works on", handed)

    def rank(self, images: list[str], datastore: Datastore) -> list[Choice]:
        reason = f"Drawn at random from {len(images)} images."
        return [Choice(image, 1 / len(images), reason) for image in random.sample(images, len(images))]


class LeastConfident(Sampling):
    """The image on which the model's own propagation was least sure.

    Args:
        handed: shared by all strategies.
        fallback: ranks the images as long as none of them was propagated.
    """

    def __init__(self, handed: HandedOut, fallback: MostDifferent) -> None:
        super().__init__("The image on which the model was least sure of what it drew", handed)
        self._fallback = fallback

    def rank(self, images: list[str], datastore: Datastore) -> list[Choice]:
        found = {image: recorded_confidence(datastore, image) for image in images}
        sureness = {image: value for image, value in found.items() if value is not None}
        if not sureness:
            said = "The model has drawn in none of the images, so the most different one was chosen."
            ranked = self._fallback.rank(images, datastore)
            return [Choice(choice.image, choice.score, f"{said} {choice.reason}") for choice in ranked]
        unknown = [image for image in images if image not in sureness]
        random.shuffle(unknown)
        return [
            Choice(image, sureness[image], f"The model was {sureness[image]:.0%} sure of what it drew there.")
            for image in sorted(sureness, key=sureness.__getitem__)
        ] + [Choice(image, None, "The model has not drawn there yet.") for image in unknown]
