"""Image features of slices, each computed once and shared by structures, directions and requests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slmsam2.engine.workspace import BoundedCache, Workspace, tensor_bytes
from slmsam2.modeling import SLMSAM2
from slmsam2.normalisation import grey_of
from slmsam2.volume import Frames

DEFAULT_CACHE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class SliceFeatures:
    """What the image encoder gives for one slice, finest level first.

    Attributes:
        feats: per level (h*w, 1, C).
        pos: positional encodings of the same shapes.
        sizes: per level (h, w).
        thumbnail: (1, 1, n, n) when masks are moved along with the image, else None.
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
        max_bytes: bound on what is kept when there is no workspace.
        workspace: keeps the features for later requests, too.

    Attributes:
        seconds: time spent encoding so far.
    """

    def __init__(
        self,
        model: SLMSAM2,
        frames: Sequence[Tensor] | Tensor,
        max_bytes: int = DEFAULT_CACHE_BYTES,
        workspace: Workspace | None = None,
    ):
        self._model = model
        self._frames = frames
        self.workspace = workspace
        self._kept = workspace.features if workspace else BoundedCache(max_bytes)
        self._number = workspace.number_of(model) if workspace else 0
        self._digests: dict[int, bytes] = {}
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def num_bytes(self) -> int:
        """Size of what is kept now."""
        return self._kept.bytes

    def __getitem__(self, index: int) -> SliceFeatures:
        key = index if self.workspace is None else (self._number, self.digest(index))
        return self._kept.get_or_make(key, lambda: self._encode(index), lambda made: tensor_bytes(made.feats))

    def grey(self, index: int) -> np.ndarray:
        """What the network sees of a slice, as an image: float32 (N, N), 0 to 1 over the window."""
        return grey_of(self._frames[index].float()).cpu().numpy()

    def thumbnail(self, index: int) -> Tensor | None:
        """The slice's thumbnail alone, see :class:`SliceFeatures`."""
        return self._model.thumbnails(self._frames[index].to(self._model.device).float()[None])

    def digest(self, index: int) -> bytes:
        """A fingerprint of what the network sees of a slice."""
        if index not in self._digests:
            frames = self._frames
            seen = (
                frames.source(index) if isinstance(frames, Frames) else frames[index].cpu().numpy().tobytes()
            )
            self._digests[index] = hashlib.blake2b(seen, digest_size=16).digest()
        return self._digests[index]

    def _encode(self, index: int) -> SliceFeatures:
        start = time.perf_counter()
        frame = self._frames[index].to(self._model.device).float()[None]
        half = self._model.info.get("encoder") == "bfloat16"
        with torch.autocast(frame.device.type, torch.bfloat16, enabled=half):
            encoded = self._model.forward_image(frame)
        _, feats, pos, sizes = self._model._prepare_backbone_features(encoded)
        feats, pos = ([level.float() for level in levels] for levels in (feats, pos))
        # the encodings are equal for all slices: kept once
        pos = self._kept.get_or_make((self._number, "positions"), lambda: pos, tensor_bytes)
        thumbnail = self._model.thumbnails(frame)
        self.seconds += time.perf_counter() - start
        return SliceFeatures(feats, pos, sizes, thumbnail)
