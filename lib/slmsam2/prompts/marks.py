"""What the user marked on a slice without painting the structure: clicks, strokes, a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

NEGATIVE, POSITIVE, BOX_CORNERS = 0, 1, (2, 3)  # SAM's labels of points
MOST_POINTS = 8  # of a kind and slice that the network is given; strokes are thinned out to these

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels, the latter two exclusive."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Clicks, strokes and a box on one slice.

    Attributes:
        inside, outside: bool (H, W), pixels marked as the structure, and as not the structure.
        box: around the structure; None without.
        base: bool (H, W), a painted mask that the marks correct; None without.
        first: row and column of the click on the structure that came first; None where that is not known.
        loose: whether the box is one for several slices, and so wider than the structure is on most of them.
    """

    inside: np.ndarray
    outside: np.ndarray
    box: Box | None = None
    base: np.ndarray | None = None
    first: tuple[int, int] | None = None
    loose: bool = False

    @property
    def says_where(self) -> bool:
        """Whether anything says where the structure is."""
        based = self.base is not None and bool(self.base.any())
        return bool(self.inside.any()) or self.box is not None or based

    @property
    def extent(self) -> np.ndarray:
        """Bool (H, W): every pixel that the structure is said to be at."""
        extent = self.inside.copy()
        if self.base is not None:
            extent |= self.base
        if self.box is not None:
            left, top, right, bottom = (max(round(edge), 0) for edge in self.box)
            extent[top : max(bottom, top + 1), left : max(right, left + 1)] = True
        return extent

    @property
    def beginning(self) -> Marks:
        """The first click on the structure alone, the one in the middle of all where it is not known."""
        inside = np.zeros_like(self.inside)
        for x, y in spread_pixels(self.inside, 1, self.first):
            inside[int(y), int(x)] = True
        return Marks(inside, np.zeros_like(inside), first=self.first)

    def cut(self, cut: Callable[[np.ndarray], np.ndarray], left: int, top: int) -> Marks:
        """The marks in a part of the slice; ``cut`` takes it out of (H, W), its corner is at (``left``, ``top``)."""
        box = self.box
        if box is not None:
            box = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        base = None if self.base is None else cut(self.base)
        first = None if self.first is None else (self.first[0] - top, self.first[1] - left)
        return Marks(cut(self.inside), cut(self.outside), box, base, first, self.loose)

    def with_base(self, base: np.ndarray | None) -> Marks:
        """The same marks on another mask."""
        return replace(self, base=base)

    def resized(self, shape: tuple[int, ...]) -> Marks:
        """The same marks on a slice of another number of pixels, without a base; a mark is a pixel there, too."""
        height, width = self.inside.shape
        scale = np.array([shape[0] / height, shape[1] / width])
        inside, outside = np.zeros((2, *shape), bool)
        for small, large in ((self.inside, inside), (self.outside, outside)):
            large[tuple(((np.argwhere(small) + 0.5) * scale).astype(int).T)] = True
        first = self.first
        if first is not None:
            row, column = ((np.array(first) + 0.5) * scale).astype(int).tolist()
            first = (row, column)
        box = self.box
        if box is not None:
            box = (box[0] * scale[1], box[1] * scale[0], box[2] * scale[1], box[3] * scale[0])
        return Marks(inside, outside, box, first=first, loose=self.loose)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """The marks as SAM takes them.

        Returns:
            float32 (P, 2), x and y in pixels of the slice, a pixel's centre at + 0.5; and int32 (P,), SAM's labels: the
            box's two corners, then points inside, the first click or the one in the middle before others, then points
            outside.
        """
        corners = [] if self.box is None else [self.box[:2], self.box[2:]]
        inside, outside = spread_pixels(self.inside, first=self.first), spread_pixels(self.outside)
        labels = [
            *BOX_CORNERS[: len(corners)],
            *[POSITIVE] * len(inside),
            *[NEGATIVE] * len(outside),
        ]
        places = [*corners, *inside, *outside]
        return np.array(places, np.float32).reshape(-1, 2), np.array(labels, np.int32)


Prompt = np.ndarray | Marks
"""What is given for one slice: a painted mask, bool (H, W), empty for "not on this slice"; or marks."""


def is_empty(prompt: Prompt) -> bool:
    """Whether a prompt says that the structure is not on the slice."""
    return not prompt.says_where if isinstance(prompt, Marks) else not prompt.any()


def extent_of(prompt: Prompt) -> np.ndarray:
    """Bool (H, W): where a prompt says that the structure is."""
    return prompt.extent if isinstance(prompt, Marks) else prompt


def spread_pixels(
    mask: np.ndarray, most: int = MOST_POINTS, first: tuple[int, int] | None = None
) -> list[tuple[float, float]]:
    """Up to ``most`` pixels of a mask, bool (H, W), as far from each other as can be: the centres' x and y.

    The first is the one nearest to ``first``, row and column, or to the middle of all; each further one the farthest
    from those chosen before.
    """
    pixels = np.argwhere(mask).astype(np.float64)
    if not len(pixels):
        return []
    start = pixels.mean(axis=0) if first is None else np.array(first)
    chosen = [int(((pixels - start) ** 2).sum(axis=1).argmin())]
    distance = ((pixels - pixels[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(pixels)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((pixels - pixels[chosen[-1]]) ** 2).sum(axis=1))
    return [(float(x) + 0.5, float(y) + 0.5) for y, x in pixels[chosen]]
