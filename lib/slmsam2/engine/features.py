"""Image features of slices, each computed once and shared by structures and directions."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from slmsam2.modeling import SLMSAM2

DEFAULT_CACHE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class SliceFeatures:
    """What the image encoder gives for one slice, finest level first.

    Attributes:
        feats: per level (h*w, 1, C).
        pos: positional encodings of the same shapes.
        sizes: per level (h, w).
        thumbnail: (1, 1, n, n) when the network follows the motion between slices, else None.
    """

    feats: list[Tensor]
    pos: list[Tensor]
    sizes: list[tuple[int, int]]
    thumbnail: Tensor | None


class FeatureCache:
    """Encodes slices on demand and keeps the most recently used ones within a memory budget.

    Args:
        model: the network; its device is where features are computed and kept.
        frames: float32 (S, 3, N, N) tensor, or a sequence that gives (3, N, N) per slice.
        max_bytes: bound on what is kept.

    Attributes:
        seconds: time spent encoding so far.
    """

    def __init__(
        self, model: SLMSAM2, frames: Sequence[Tensor] | Tensor, max_bytes: int = DEFAULT_CACHE_BYTES
    ):
        self._model = model
        self._frames = frames
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, tuple[list[Tensor], Tensor | None]] = OrderedDict()
        self._pos: tuple[list[Tensor], list[tuple[int, int]]] | None = None
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def num_bytes(self) -> int:
        """Size of what is kept now."""
        return sum(t.numel() * t.element_size() for feats, _ in self._kept.values() for t in feats)

    def __getitem__(self, index: int) -> SliceFeatures:
        kept = self._kept.pop(index, None) or self._encode(index)
        self._kept[index] = kept
        feats, thumbnail = kept
        each = sum(t.numel() * t.element_size() for t in feats)
        while len(self._kept) > 1 and len(self._kept) * each > self._max_bytes:
            self._kept.popitem(last=False)
        pos, sizes = self._pos  # type: ignore[misc]  # set by the first _encode
        return SliceFeatures(feats, pos, sizes, thumbnail)

    def _encode(self, index: int) -> tuple[list[Tensor], Tensor | None]:
        start = time.perf_counter()
        frame = self._frames[index].to(self._model.device).float()[None]
        encoded = self._model.forward_image(frame)
        _, feats, pos, sizes = self._model._prepare_backbone_features(encoded)
        self._pos = self._pos or (pos, sizes)
        thumbnail = self._model.thumbnails(frame)
        self.seconds += time.perf_counter() - start
        return feats, thumbnail
