"""One way from slice to slice: which slices the network looks at, and which the mask is only carried over."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

from slmsam2.engine.tracker import ObjectTracker, found_on, is_absent
from slmsam2.modeling.network import SliceOutput


class Walk:
    """Follows an object from the prompted slice ``start`` on, one slice after the other.

    Where the network's ``stride`` is more than 1, it looks at every so many slices; to those between, the mask is
    moved along with the image. Where a look finds nothing, the slices before are looked at after all, so that an end is
    found as exactly.

    Args:
        tracker: its memory bank holds ``start``.
        begun: output of ``start``.
        step: 1 or -1, towards higher or lower slice numbers.
        stride: of the network.

    Attributes:
        outputs: slice -> what was found, in the order of the way.
    """

    def __init__(
        self, tracker: ObjectTracker, start: int, begun: SliceOutput, step: int, stride: int
    ) -> None:
        self.outputs: dict[int, SliceOutput] = {}
        self._tracker, self._start, self._begun, self._step, self._stride = (
            tracker,
            start,
            begun,
            step,
            stride,
        )
        # of what is expected where it starts: all of a painted slice, less of one that was clicked on
        self._least_overlap = tracker.least_overlap * float(begun["iou"].max())
        self._carried: list[int] = []

    def to(self, index: int) -> None:
        """Go on to slice ``index``, the next one."""
        last = self.outputs.get(index - self._step, self._begun)
        if abs(index - self._start) % self._stride and not is_absent(last):
            self._carried.append(index)
            out = self._tracker.carry(index, last, reverse=self._step < 0)
            self.outputs[index] = found_on(out, self._least_overlap)
            return
        self._look_at(index)
        if is_absent(self.outputs[index]):
            for passed in self._carried:
                self._look_at(passed)
        self._carried.clear()

    def _look_at(self, index: int) -> None:
        out = self._tracker.advance(index, reverse=self._step < 0)
        self.outputs[index] = found_on(out, self._least_overlap)

    @property
    def absent(self) -> int:
        """On how many slices in a row, up to this one, the object was not found."""
        return absent_at_the_end(self.outputs)


def absent_at_the_end(outputs: Mapping[int, SliceOutput]) -> int:
    """On how many slices in a row, up to the last one, an object was not found."""
    return sum(1 for _ in takewhile(is_absent, reversed(list(outputs.values()))))
