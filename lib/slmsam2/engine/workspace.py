"""What is worth keeping from one request to the next: images, their features, and what was propagated between prompts.

The latter two are pure functions of what they are keyed by, the content of the slices and prompts and the network, so
that a request's answer is the same with and without them.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from torch import Tensor

from slmsam2.modeling import SLMSAM2
from slmsam2.volume import Volume, read_volume

FEATURE_BYTES = 2 * 1024**3
PASS_BYTES = 512 * 1024**2
VOLUME_BYTES = 512 * 1024**2
DETACHED = (".mhd", ".nhdr")  # headers: their voxels are in another file, whose changes would not be seen


class BoundedCache:
    """Keeps the most recently used values within a memory budget; safe to use from several threads.

    Args:
        max_bytes: bound on the tensors kept; the newest value is kept in any case.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any | None:
        """The value, now the most recently used; None when it is not kept."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep ``value`` of ``size`` bytes, at the expense of the ones not used for longest."""
        with self._lock:
            if key in self._kept:
                self.bytes -= self._kept.pop(key)[1]
            self._kept[key] = (value, size)
            self.bytes += size
            while len(self._kept) > 1 and self.bytes > self.max_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self.bytes -= freed

    def clear(self) -> None:
        """Keep nothing of what is kept now."""
        with self._lock:
            self._kept.clear()
            self.bytes = 0

    def get_or_make(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """The value kept, else a new one that is kept from now on."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value, size(value))
        return value


class Workspace:
    """The caches that requests share.

    Args:
        feature_bytes, pass_bytes, volume_bytes: bounds on the image features, on what passes found, and on images.

    Networks must not change while a workspace is in use: it knows them by identity.
    """

    def __init__(
        self,
        feature_bytes: int = FEATURE_BYTES,
        pass_bytes: int = PASS_BYTES,
        volume_bytes: int = VOLUME_BYTES,
    ) -> None:
        self.features = BoundedCache(feature_bytes)
        self.passes = BoundedCache(pass_bytes)
        self.volumes = BoundedCache(volume_bytes)
        self._numbers: weakref.WeakKeyDictionary[SLMSAM2, int] = weakref.WeakKeyDictionary()
        self._counter = itertools.count()

    @classmethod
    def within(cls, total: int) -> Workspace:
        """One that keeps so many bytes at most, image features in three fifths of them."""
        return cls(total - 2 * (total // 5), total // 5, total // 5)

    def clear(self) -> None:
        """Forget everything; later requests take longer, their answers stay the same."""
        self.features.clear()
        self.passes.clear()
        self.volumes.clear()

    def read(self, path: Path) -> Volume:
        """The image of a file or folder, read again only when a file has changed; its voxels are not to be written to.

        Raises:
            VolumeError: as :func:`slmsam2.volume.read_volume`.
        """
        if path.suffix.lower() in DETACHED:
            return read_volume(path)
        state = _state(path)
        kept: Volume | None = self.volumes.get(state)
        if kept is not None:
            return kept
        volume = read_volume(path)
        volume.array.setflags(write=False)
        if volume.array.nbytes <= self.volumes.max_bytes:
            self.volumes.put(state, volume, volume.array.nbytes)
        return volume

    def number_of(self, network: SLMSAM2) -> int:
        """A number of the network's own, never given again."""
        return self._numbers.setdefault(network, next(self._counter))


def _state(path: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file, or one of a folder's, does: names, sizes in bytes, times of change in ns."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file, file.stat()) for file in files if file.exists()]
    return tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in facts)


def tensor_bytes(tensors: list[Tensor]) -> int:
    """The memory that tensors take, in bytes."""
    return sum(t.numel() * t.element_size() for t in tensors)
