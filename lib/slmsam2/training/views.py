"""Structures of real volumes as the network is shown them: region, slices, window and distortion of one look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.engine.regions import Region, region_around, twice_as_wide, whole_slices
from slmsam2.engine.tracker import square_mask
from slmsam2.normalisation import grey_of, normalised
from slmsam2.synthesis.noise import uniform
from slmsam2.training.labelled import Case, Structure
from slmsam2.volume import Frames, SliceView, Volume, Window

MOST_SLICES = 64  # of one view
ROOM = 10  # slices past each end of the structure


@dataclass(frozen=True)
class DistortionSettings:
    """How far a view may differ from what inference would be shown; all either way.

    Attributes:
        margin: least and most room around the structure, in multiples of its longer side.
        degrees, shear: turn and shear within the slices, degrees.
        scale, shift: share of the region.
        level, width: share of the window's width; ``width`` is a factor's logarithm.
        flip: probability of a mirrored view.
        gamma: logarithm of the largest exponent of the shown intensities.
        noise: largest standard deviation of noise, of the shown range.
        invert: probability that dark and bright change places.
    """

    margin: tuple[float, float] = (0.5, 1.3)
    degrees: float = 25.0
    shear: float = 10.0
    scale: float = 0.1
    shift: float = 0.08
    level: float = 0.1
    width: float = 0.2
    flip: float = 0.5
    gamma: float = 0.0
    noise: float = 0.0
    invert: float = 0.0


@dataclass(frozen=True)
class Distortion:
    """One draw: ``matrix`` (2, 3) maps output to input positions, both -1 to 1 (torch's ``affine_grid``).

    ``gamma`` is the exponent, ``noise`` the standard deviation, and ``seed`` what the noise is drawn with.
    """

    margin: float | None
    matrix: Tensor | None
    level: float
    width: float
    gamma: float = 1.0
    noise: float = 0.0
    invert: bool = False
    seed: int = 0

    @classmethod
    def draw(cls, settings: DistortionSettings, generator: Generator) -> Distortion:
        """A random one."""
        turn, shear, scale, level, width, flip = uniform((6,), -1.0, 1.0, generator).tolist()
        shift = uniform((2, 1), -settings.shift, settings.shift, generator)
        angle, slant = math.radians(turn * settings.degrees), math.radians(shear * settings.shear)
        rotation = torch.tensor(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        ) @ torch.tensor([[1.0, math.tan(slant)], [0.0, 1.0]])
        linear = rotation * (1 + scale * settings.scale)
        if (flip + 1) / 2 < settings.flip:
            linear = linear @ torch.diag(torch.tensor([-1.0, 1.0]))
        low, high = settings.margin
        margin = float(uniform((1,), low, high, generator))
        gamma, noise, invert = uniform((3,), -1.0, 1.0, generator).tolist()
        return cls(
            margin,
            torch.cat([linear, shift], dim=1),
            level * settings.level,
            math.exp(width * settings.width),
            math.exp(gamma * settings.gamma),
            (noise + 1) / 2 * settings.noise,
            (invert + 1) / 2 < settings.invert,
            int(torch.randint(0, 2**31, (1,), generator=generator)),
        )

    def window(self, window: Window) -> Window:
        """The window, shifted and widened."""
        return Window(window.level + self.level * window.width, window.width * self.width)

    def intensities(self, frame: Tensor, index: int) -> Tensor:
        """Change a normalised frame (3, N, N), slice ``index`` of the view."""
        if self.gamma == 1.0 and self.noise == 0.0 and not self.invert:
            return frame
        shown = grey_of(frame).clamp(0, 1)
        shown = (1 - shown if self.invert else shown) ** self.gamma
        generator = Generator().manual_seed(self.seed + index)
        shown = (shown + self.noise * torch.randn(shown.shape, generator=generator)).clamp(0, 1)
        return normalised(shown)

    def __call__(self, images: Tensor, mode: str) -> Tensor:
        """Distort (B, C, N, N) within the slices; beyond the border the border goes on."""
        if self.matrix is None:
            return images
        grid = F.affine_grid(self.matrix.expand(len(images), -1, -1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


PLAIN = Distortion(margin=None, matrix=None, level=0.0, width=1.0)
"""What inference does."""


class View(Sequence[Tensor]):
    """Some slices of one region of a volume, with the structures in it.

    ``view[s]`` is slice s as float32 (3, N, N), normalised. Holds a copy of its part of the volume only.

    Args:
        stack: (S, h, w) real numbers, the part of the volume.
        labels: bool (O, S, h, w).
        known: bool (O, S), whether the label can be trusted there.
        window: intensities shown as 0 to 1.
        image_size: N.
        distortion: within the slices.
    """

    def __init__(
        self,
        stack: np.ndarray,
        labels: np.ndarray,
        known: np.ndarray,
        window: Window,
        image_size: int,
        distortion: Distortion,
    ):
        self.labels, self.known = labels, known
        self.present = labels.any(axis=(2, 3))
        self._frames = Frames(stack, window, image_size)
        self._distortion = distortion

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index):  # type: ignore[no-untyped-def, override]
        frame = self._distortion(self._frames[index][None], "bilinear")[0]
        return self._distortion.intensities(frame, index)

    def masks(self, objects: Sequence[int], slices: Sequence[int]) -> Tensor:
        """bool (O, T, N, N) of the chosen structures and slices.

        Of a structure too small to survive the distortion the strongest pixel is kept, if it is in sight at all.
        """
        size = self._frames.image_size
        chosen = [[square_mask(self.labels[o, s], size)[0] for s in slices] for o in objects]
        masks = torch.stack([torch.stack(row) for row in chosen])  # (O, T, 1, N, N)
        distorted = torch.stack([self._distortion(row, "bilinear") for row in masks])[:, :, 0]
        strongest = distorted.amax(dim=(2, 3), keepdim=True)
        return (distorted > 0) & (distorted >= strongest.clamp(max=0.5))


def make_view(
    case: Case,
    main: Structure,
    loaded: tuple[Volume, np.ndarray],
    *,
    window: Window,
    image_size: int,
    margin: float | None,
    distortion: Distortion,
    generator: Generator,
    others: int = 0,
) -> View:
    """A view of structure ``main`` and of up to ``others`` more that are inside it.

    Args:
        loaded: the case's image, and its label (I, J, K).
        window: the one that inference chooses for ``main``.
        margin: the network's own, for its region around what is painted; None: it looks at whole slices.
        generator: chooses the part of a structure that is too long, the painted slice and the others.
    """
    image, label = loaded
    view = SliceView(image.shape, image.affine, main.axis)
    stack = view.to_stack(label)
    chosen = [main, *_companions(case, main, generator, others)]
    first, last = _part(main.drawn, len(stack), generator)
    part = stack[first : last + 1]
    masks = np.stack([part == one.value for one in chosen])
    region = _region(masks[0], main.known[first : last + 1], view, margin, distortion, generator)
    return View(
        np.ascontiguousarray(region.cut(view.to_stack(image.array)[first : last + 1])),
        np.ascontiguousarray(region.cut(masks)),
        np.stack([one.known[first : last + 1] for one in chosen]),
        distortion.window(window),
        image_size,
        distortion,
    )


def _companions(case: Case, main: Structure, generator: Generator, most: int) -> list[Structure]:
    """Other structures of the case that were drawn along the same axis and share slices with ``main``."""
    fitting = [
        one
        for one in case.structures.values()
        if one.value != main.value and one.axis == main.axis and ((one.areas > 0) & (main.areas > 0)).any()
    ]
    order = torch.randperm(len(fitting), generator=generator).tolist()
    return [fitting[i] for i in order[:most]]


def _part(drawn: np.ndarray, slices: int, generator: Generator) -> tuple[int, int]:
    """First and last slice of a stack to look at: the structure and ROOM, or a part of it when that is long.

    Args:
        drawn: the slices that the structure is known to be on, ascending; one of them at least is in the part.
        slices: of the stack.
    """
    first, last = max(int(drawn[0]) - ROOM, 0), min(int(drawn[-1]) + ROOM, slices - 1)
    if last - first + 1 > MOST_SLICES:
        inside = int(drawn[int(torch.randint(0, len(drawn), (1,), generator=generator))])
        earliest, latest = max(first, inside - MOST_SLICES + 1), min(inside, last - MOST_SLICES + 1)
        first = int(torch.randint(earliest, latest + 1, (1,), generator=generator))
    return first, min(last, first + MOST_SLICES - 1)


def _region(
    mask: np.ndarray,
    known: np.ndarray,
    view: SliceView,
    margin: float | None,
    distortion: Distortion,
    generator: Generator,
) -> Region:
    """As in inference: around one painted slice, bool (S, h, w) -> region; wider when the structure leaves it.

    The painted slice is one of the ``known`` ones, bool (S,).
    """
    if margin is None:
        return whole_slices(mask[0])
    areas = np.count_nonzero(mask, axis=(1, 2)) * known
    if distortion is PLAIN:
        painted = mask[areas.argmax()]
    else:
        drawn = np.flatnonzero(areas)
        painted = mask[drawn[int(torch.randint(0, len(drawn), (1,), generator=generator))]]
    spacing = view.spacing[1:]
    region = region_around([painted], spacing, margin if distortion.margin is None else distortion.margin)
    if region.is_touched_by(region.cut(mask).any(axis=0)):
        region = twice_as_wide(region, spacing)
    return region
