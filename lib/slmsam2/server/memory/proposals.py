"""What was first proposed for each structure, for as long as it may be submitted.

Clients save a proposal as ``original`` only if they ask for it, and 3D Slicer does not. How much people still correct
is to be known all the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from cachetools import TTLCache

from slmsam2.server.memory.masks import PackedMask
from slmsam2.server.memory.steps import Key
from slmsam2.volume import Volume

MOST_BYTES = 64 * 1024**2
MOST_SECONDS = 24 * 3600.0  # since it was proposed


@dataclass(frozen=True)
class Proposal:
    """A mask with its place."""

    mask: PackedMask
    affine: np.ndarray

    def unpack(self) -> Volume:
        """0 or 1, uint8 (I, J, K)."""
        return Volume(self.mask.unpack().view(np.uint8), self.affine)


class Proposals:
    """First proposals, within a bound; those not used for longest go first.

    Args:
        most_bytes: bound on all of them.
        most_seconds: how long each is kept.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> None:
        self._most_bytes = most_bytes
        self._kept: TTLCache[Key, Proposal] = TTLCache(
            most_bytes, most_seconds, getsizeof=lambda proposal: len(proposal.mask.bits)
        )
        self._lock = threading.Lock()

    def keep(self, key: Key, mask: np.ndarray, affine: np.ndarray) -> None:
        """Keep a proposal, unless the structure already has one.

        Args:
            mask: bool (I, J, K), on the image's grid.
            affine: (4, 4), the image's.
        """
        with self._lock:
            if key in self._kept:
                return
        proposal = Proposal(PackedMask.of(mask), affine)
        if len(proposal.mask.bits) <= self._most_bytes:
            with self._lock:
                self._kept.setdefault(key, proposal)

    def forget(self, key: Key) -> None:
        """The next proposal for a structure is its first."""
        with self._lock:
            self._kept.pop(key, None)

    def move(self, client: str, image: str, to: str) -> None:
        """What was proposed to a client on an image, under the image's new name."""
        with self._lock:
            for key in [key for key in self._kept if (key.image, key.client) == (image, client)]:
                self._kept[replace(key, image=to)] = self._kept.pop(key)

    def of(self, image_id: str) -> dict[str, Proposal]:
        """By structure name; of several annotators' the one made last."""
        with self._lock:
            return {key.structure: kept for key, kept in self._kept.items() if key.image_id == image_id}
