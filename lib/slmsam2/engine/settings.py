"""How to propagate, and where a propagation ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Order = Literal["independent", "published"]
END_OF_RANGE, END_OF_STRUCTURE, SAID_ABSENT = "end of the range", "end of the structure", "marked as absent"
USUAL_LENGTH = "usual length"
AREAS_FALL = "areas fall to nothing"
STOP_AFTER = 3  # slices in a row without the structure end a direction, unless something else is asked for


@dataclass(frozen=True)
class Settings:
    """How to propagate.

    Attributes:
        order: "published": forward, then backward reading forward memories; "independent": the directions do not
            see each other, start anew at each painted slice, and are blended between painted slices.
        up, down: whether to go towards higher, towards lower slice numbers.
        first, last: the slice range to stay in, inclusive; None for the volume's ends.
        stop_after: slices in a row without the object after which a direction ends; None goes to the range's end.
    """

    order: Order = "independent"
    up: bool = True
    down: bool = True
    first: int | None = None
    last: int | None = None
    stop_after: int | None = None

    @property
    def bounded(self) -> bool:
        """Whether there are slices that it may not go to."""
        return not (self.up and self.down and self.first is None and self.last is None)

    def bounds(self, num_slices: int) -> tuple[int, int]:
        """First and last slice that it may go to, of so many."""
        first = 0 if self.first is None else self.first
        return first, num_slices - 1 if self.last is None else self.last

    def untouched(self, prompted: Iterable[int], num_slices: int) -> set[int]:
        """The slices that may not change, of a structure prompted on some: out of range, or against the direction."""
        some = list(prompted)
        low, high = self.bounds(num_slices)
        low = low if self.down else max(low, min(some))
        high = high if self.up else min(high, max(some))
        return set(range(num_slices)) - set(range(low, high + 1))


@dataclass(frozen=True)
class Stop:
    """Where and why a direction ended: see the constants at the top."""

    slice: int
    reason: str
