"""What the server remembers of an annotator's work: a help, never needed.

Kept per image, client and structure, for a while and within a bound; two clients do not see each other's. The last step
is on disk, too: a restarted server goes on from it, and so does another one over the same folder.
"""

from __future__ import annotations

import pickle
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np

from slmsam2.engine.spans import prompt_digest
from slmsam2.prompts.corrections import Known
from slmsam2.server.memory.last_steps import LastSteps
from slmsam2.server.memory.masks import PackedMask
from slmsam2.volume import Exemplar, SliceView, Volume

MOST_BYTES = 256 * 1024**2
MOST_SECONDS = 4 * 3600.0  # since a structure was last worked on
MOST_STEPS = 10  # that can be undone

Unlike = Callable[[int, PackedMask], int]
"""Says of how many voxels something differs from a mask, bool (S, H, W), of slices along that stored axis."""


@dataclass(frozen=True)
class Key:
    """Whose work on what: the image's id and time stamp, or what it holds; the client's id, the structure's name."""

    image: str
    client: str
    structure: str

    @property
    def image_id(self) -> str:
        """The image's id alone."""
        return self.image.rpartition(" ")[0]


@dataclass(frozen=True, eq=False)
class Before:
    """A structure as it was before the step that was taken back.

    Attributes:
        mask: bool (S, H, W), slices numbered as in the stack.
        axis: stored axis of these slices; the step that was taken back may have been along another one.
    """

    mask: np.ndarray
    axis: int

    def put_back(self, label: np.ndarray, value: int, image: Volume) -> None:
        """Write it into a label, integers (I, J, K) on the image's grid, in place; what else is there stays."""
        stack = SliceView(image.shape, image.affine, self.axis).to_stack(label)
        stack[stack == value] = 0
        stack[self.mask & (stack == 0)] = value


@dataclass(frozen=True)
class _Packed:
    """A :class:`Known`, compressed; it never leaves this process.

    Exemplars, which all share, are not copied.
    """

    data: bytes
    exemplars: tuple[Exemplar, ...]

    def unpack(self) -> Known:
        known, given, returned = self._content()
        return replace(known, given=given.unpack(), returned=returned.unpack(), exemplars=self.exemplars)

    def differs_by(self, unlike: Unlike) -> int:
        """How unlike what was sent back something is."""
        known, _, returned = self._content()
        return unlike(known.axis, returned)

    def _content(self) -> tuple[Known, PackedMask, PackedMask]:
        content: tuple[Known, PackedMask, PackedMask] = pickle.loads(zlib.decompress(self.data))
        return content


def _pack(known: Known) -> _Packed:
    nothing = np.zeros(0, bool)
    content = (
        replace(known, given=nothing, returned=nothing, exemplars=()),
        PackedMask.of(known.given),
        PackedMask.of(known.returned),
    )
    return _Packed(zlib.compress(pickle.dumps(content), 1), known.exemplars)


def _changes_nothing(before: Known, now: Known) -> bool:
    """Whether a request was given the same as the one before, and gave the same."""
    return (
        before.axis == now.axis
        and _digests(before) == _digests(now)
        and np.array_equal(before.returned, now.returned)
    )


def _digests(known: Known) -> dict[tuple[int, int], bytes]:
    """Of all that was given: dimension of the stack and index -> digest."""
    across = {
        (along, at): prompt_digest(one)
        for along, planes in known.across.items()
        for at, one in planes.items()
    }
    return across | {(0, at): prompt_digest(one) for at, one in known.prompts.items()}


class Memory:
    """The steps of each structure, the newest last.

    Args:
        most_bytes: bound on all of them; the structures not worked on for longest are forgotten first.
        most_seconds: how long a structure is remembered after it was last worked on.
        clock: seconds that only grow.
        folder: where the last steps are kept over a restart; None: nowhere.
    """

    def __init__(
        self,
        most_bytes: int = MOST_BYTES,
        most_seconds: float = MOST_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        folder: Path | None = None,
    ) -> None:
        self._most_bytes, self._most_seconds, self._clock = most_bytes, most_seconds, clock
        self._steps: OrderedDict[Key, tuple[float, list[_Packed]]] = OrderedDict()
        self._disk = None if folder is None else LastSteps(folder, most_bytes, most_seconds)
        # of the steps on disk that are known; None: could not be written
        self._stamps: dict[Key, int | None] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def bytes(self) -> int:
        """What is kept at present."""
        with self._lock:
            return sum(len(step.data) for _, steps in self._steps.values() for step in steps)

    def recall(self, key: Key, unlike: Unlike | None = None) -> Known | None:
        """The last step of a structure; or that of which something differs least, the newest of equals."""
        with self._lock:
            steps = self._steps_of(key)
        if unlike is None or len(steps) < 2:
            return steps[-1].unpack() if steps else None
        return min(reversed(steps), key=lambda step: step.differs_by(unlike)).unpack()

    def remember(self, key: Key, known: Known) -> None:
        """Add a step; what changed nothing takes the place of the last one, since there is nothing to undo."""
        with self._lock:
            steps = self._steps_of(key)
            last = steps[-1].unpack() if steps else None
            self._steps.pop(key, None)
            if last is not None and _changes_nothing(last, known):
                known, steps = replace(known, given=last.given), steps[:-1]
            self._steps[key] = (self._clock(), [*steps, _pack(known)][-MOST_STEPS:])
            self._forget_old()
            while self.bytes > self._most_bytes:
                oldest = next(iter(self._steps))
                del self._steps[oldest]
                self._stamps.pop(oldest, None)
            self._note(key, known)

    def undo(self, key: Key) -> Before | None:
        """Take back the last step; None when there is nothing to take back."""
        with self._lock:
            self._forget_old()
            self._catch_up(key)
            _, steps = self._steps.pop(key, (0.0, []))
            if not steps:
                return None
            if not steps[:-1]:
                first = steps[-1].unpack()
                self.forget(key)
                return Before(first.given, first.axis)
            self._steps[key] = (self._clock(), steps[:-1])
            last = steps[-2].unpack()
            self._note(key, last)
            return Before(last.returned, last.axis)

    def move(self, client: str, image: str, to: str) -> None:
        """What a client did on an image, under the image's new name; what is known under that one is older."""
        with self._lock:
            for key in [key for key in self._steps if (key.image, key.client) == (image, client)]:
                renamed = replace(key, image=to)
                self._steps[renamed] = self._steps.pop(key)
                self._stamps[renamed] = self._stamps.pop(key, None)
            if self._disk is not None:
                self._disk.move(image, client, to)

    def forget(self, key: Key) -> None:
        """Start anew with a structure."""
        with self._lock:
            self._steps.pop(key, None)
            self._stamps.pop(key, None)
            if self._disk is not None:
                self._disk.forget(*astuple(key))

    def _note(self, key: Key, known: Known) -> None:
        """Keep the last step on disk."""
        if self._disk is not None:
            self._stamps[key] = self._disk.write(known, *astuple(key))

    def _catch_up(self, key: Key) -> None:
        """Take over what is on disk, if it is not what this server has written or read last."""
        if self._disk is None:
            return
        stamp, known_stamp = self._disk.stamp(*astuple(key)), self._stamps.get(key)
        if stamp is None and known_stamp is not None:  # another server has forgotten it
            self._steps.pop(key, None)
            self._stamps.pop(key)
        if stamp is None or (stamp == known_stamp and key in self._steps):
            return
        known = self._disk.read(*astuple(key))
        if known is not None:
            self._steps[key] = (self._clock(), [_pack(known)])
            self._stamps[key] = stamp

    def _steps_of(self, key: Key) -> list[_Packed]:
        self._forget_old()
        self._catch_up(key)
        _, steps = self._steps.get(key, (0.0, []))
        return steps

    def _forget_old(self) -> None:
        limit = self._clock() - self._most_seconds
        for key in [key for key, (touched, _) in self._steps.items() if touched < limit]:
            del self._steps[key]
            self._stamps.pop(key, None)
