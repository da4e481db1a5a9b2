"""What all strategies share: whom an image may be handed to."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from slmsam2.server.datastore.label_records import Flagged, flagged_images
from slmsam2.server.routes.answers import all_handed_out
from slmsam2.server.sampling.damaged import is_damaged
from slmsam2.server.sampling.handed_out import HandedOut, Holder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """An image to hand out.

    Attributes:
        image: its id in the datastore.
        score: the strategy's own measure; None where it has none for this image.
        reason: a sentence for the annotator.
    """

    image: str
    score: float | None
    reason: str

    def reply(self) -> dict[str, Any]:
        """What MONAI Label sends, with the image's info added."""
        score = {} if self.score is None else {"score": round(self.score, 4)}
        return {"id": self.image, **score, "reason": self.reason}


class Sampling(Strategy):
    """A strategy that ranks the unlabelled images, and hands out the first that nobody works on.

    Whose label was flagged by a reviewer gets that image before any other; the flagged ones of others come last.

    An image that was handed out in the last minutes, by whatever strategy, is not handed to anybody else. Whoever asks
    again without having submitted gets another image; only when nothing else is left, the one they were handed longest
    ago. Images that only others have are refused: two people would do the same work. Nobody gets a damaged one.

    Args:
        description: shown to users.
        handed: shared by all strategies.
    """

    def __init__(self, description: str, handed: HandedOut) -> None:
        super().__init__(description)
        self._handed = handed

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose an image.

        Args:
            request: MONAI Label's; ``client_id`` says who asks.

        Returns:
            ``id``, ``score``, ``reason``; None when every image is labelled, or damaged.

        Raises:
            HTTPException: 409, all that is left was handed to others.
        """
        client = request.get("client_id")
        images = unlabelled_images(request, datastore)
        flagged = flagged_images(datastore)
        own = {image: one for image, one in flagged.items() if client and one.annotator == client}
        others = {image: one for image, one in flagged.items() if image not in own}
        choice = (
            self._own_flagged(own, client, datastore)
            or self._first_free(images, lambda free: self.rank(free, datastore), client, datastore)
            or self._first_free(list(others), lambda free: _to_correct(others, free), client, datastore)
        )
        if choice is None:
            held = self._handed.holders([*own, *images, *others], datastore)
            return self._again(held, client).reply() if held else None
        logger.info("%s gets %s: %s", client, choice.image, choice.reason)
        return choice.reply()

    def _own_flagged(
        self, flagged: Mapping[str, Flagged], client: str | None, datastore: Datastore
    ) -> Choice | None:
        """The first of these images that this client was not handed since it was flagged; None: there is none."""
        held = self._handed.holders(flagged, datastore)
        for choice in _to_correct(flagged, list(flagged)):
            holder = held.get(choice.image)
            if is_damaged(datastore, choice.image):
                continue
            if holder is None and self._handed.take(choice.image, client, datastore):
                return choice
            if holder and holder.client == client and holder.since < flagged[choice.image].review.when:
                self._handed.renew(choice.image, client)
                return choice
        return None

    def _first_free(
        self,
        images: list[str],
        rank: Callable[[list[str]], list[Choice]],
        client: str | None,
        datastore: Datastore,
    ) -> Choice | None:
        """The best of the images that nobody works on, handed to a client; None: there is none.

        Args:
            images: those that turn out to be damaged are taken out.
        """
        held = self._handed.holders(images, datastore)
        while free := [image for image in images if image not in held]:
            for choice in rank(free):
                if is_damaged(datastore, choice.image):
                    images.remove(choice.image)
                elif self._handed.take(choice.image, client, datastore):
                    return choice
            held = self._handed.holders(images, datastore)  # others were faster
        return None

    @abstractmethod
    def rank(self, images: list[str], datastore: Datastore) -> list[Choice]:
        """All of the images, at least one, best first."""

    def _again(self, held: dict[str, Holder], client: str | None) -> Choice:
        """The image that this client was handed longest ago."""
        own = {image: holder.since for image, holder in held.items() if holder.client == client}
        if not own:
            raise all_handed_out(len(held), self._handed.minutes_left(held.values()))
        image = min(own, key=own.__getitem__)
        self._handed.renew(image, client)
        return Choice(image, None, "You were handed this image before, and no other is free.")


def _to_correct(flagged: Mapping[str, Flagged], images: list[str]) -> list[Choice]:
    """Those of the images, in the order in which they were flagged."""
    return [Choice(image, None, _what_to_correct(flagged[image])) for image in flagged if image in images]


def _what_to_correct(flagged: Flagged) -> str:
    by = f" by {flagged.review.reviewer}" if flagged.review.reviewer else ""
    said = f": {flagged.review.comment}" if flagged.review.comment else "."
    return f"Its label was flagged{by}{said}"


def unlabelled_images(request: Mapping[str, Any], datastore: Datastore) -> list[str]:
    """Ids of the images without a submitted label, in alphabetical order, as the datastore has them."""
    return sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
