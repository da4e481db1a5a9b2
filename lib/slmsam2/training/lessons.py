"""What a training on users' labels is shown: clips of real volumes, drawn anew at every step."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from slmsam2.engine.features import FeatureCache
from slmsam2.modeling import SLMSAM2
from slmsam2.synthesis import AnatomySettings, synthetic_clips
from slmsam2.training.clip import EncodedClips, encode_clips
from slmsam2.training.labelled import Case, CaseLoader, Structure
from slmsam2.training.prompts import PromptPlan, PromptSettings, draw_plan
from slmsam2.training.views import PLAIN, Distortion, DistortionSettings, View, make_view
from slmsam2.volume import Volume, Window, choose_window

VIEW_BYTES = 1024**3  # of views and their features, kept at a time
TRIES = 8  # looks at a lesson for one clip
PLAIN_LOOK = 0  # the number of the look without distortion; nothing is out of sight there
THIN_SLICES = AnatomySettings(
    object_radius=(0.12, 0.6), slice_step=(0.006, 0.07)
)  # structures last, as in scans


@dataclass(frozen=True)
class Lesson:
    """A structure to learn.

    Attributes:
        case: its label.
        structure: with ``known`` false where it is held back.
        fresh: not seen by the version that is trained on.
    """

    case: Case
    structure: Structure
    fresh: bool

    @property
    def seed(self) -> int:
        """The same for the same structure of the same image."""
        return stable_number(self.case.image_id, self.structure.name)


def stable_number(*texts: str) -> int:
    """0 to 2**31 - 1, from texts; the same on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class ClipSettings:
    """How clips are drawn; the attributes are those of ``model/configs/learn_fast.yaml``."""

    slices: int
    structures: int
    variants: int
    replay: float
    past_end: float
    prompts: PromptSettings
    distortion: DistortionSettings
    rehearsal: float = 0.0


@dataclass(frozen=True)
class RealClip:
    """One clip: slice 0 is prompted.

    Attributes:
        frames: (1, T, 3, N, N), when the image encoder is trained; else None.
        encoded: the features, when it is not; else None.
        masks: bool (1, O, T, N, N).
        known: bool (O, T), slices whose mask can be trusted.
        plan: the prompts.
        generator: draws the clicks.
    """

    frames: Tensor | None
    encoded: EncodedClips | None
    masks: Tensor
    known: Tensor
    plan: PromptPlan
    generator: Generator


class ClipSource:
    """Draws clips; which ones depends on the seed, the step and the clip's number only.

    Volumes are read when they are wanted; what is kept of them is bounded.

    Args:
        lessons: what to learn.
        network: gives the size of frames and, when its encoder is at rest, their features.
        settings: how clips are drawn.
        encoder_at_rest: whether features can be kept.
        seed: of the run.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        network: SLMSAM2,
        settings: ClipSettings,
        *,
        encoder_at_rest: bool,
        seed: int,
    ):
        self._lessons, self._network, self._settings, self._seed = list(lessons), network, settings, seed
        self._at_rest = encoder_at_rest
        self._weights = _weights(self._lessons, settings.replay)
        self._load = CaseLoader()
        self._windows: dict[int, Window] = {}
        self._views: OrderedDict[tuple[int, int], tuple[View, FeatureCache]] = OrderedDict()

    def draw(self, step: int, number: int) -> RealClip:
        """Clip ``number`` of a step."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step * 64 + number)
        chosen = int(torch.multinomial(self._weights, 1, generator=generator))
        if self._settings.rehearsal and torch.rand(1, generator=generator) < self._settings.rehearsal:
            return self._rehearsed(generator)
        for attempt in range(1, TRIES + 1):
            variant = self._variant(generator) if attempt < TRIES else PLAIN_LOOK
            view, features = self._view(chosen, variant)
            route = draw_route(view, self._settings, generator)
            masks, objects = _visible(view, route)
            if 0 in objects:  # else the distortion has moved it out of sight
                break
        known = torch.from_numpy(view.known[np.ix_(objects, route)])
        plan = self._plan(route, generator)
        if not self._at_rest:
            frames = torch.stack([view[s] for s in route])[None].to(self._network.device)
            return RealClip(frames, None, masks[None], known, plan, generator)
        return RealClip(None, self._gather(features, route), masks[None], known, plan, generator)

    def _rehearsed(self, generator: Generator) -> RealClip:
        """A synthetic clip, of the kind the embedded model was trained on."""
        settings = self._settings
        clip = synthetic_clips(
            1,
            settings.slices,
            self._network.image_size,
            generator,
            structures=settings.structures,
            settings=THIN_SLICES,
        )
        known = torch.ones(clip.masks.shape[1:3], dtype=torch.bool)
        plan = self._plan(list(range(settings.slices)), generator)
        frames = clip.frames.to(self._network.device)
        if not self._at_rest:
            return RealClip(frames, None, clip.masks, known, plan, generator)
        with torch.no_grad():
            return RealClip(None, encode_clips(self._network, frames), clip.masks, known, plan, generator)

    def _variant(self, generator: Generator) -> int:
        """Which look: PLAIN_LOOK is one of a fixed number of them, but none of those that are new each time."""
        fixed = self._settings.variants
        lowest, number = (PLAIN_LOOK, fixed) if fixed else (PLAIN_LOOK + 1, 2**20)
        return int(torch.randint(lowest, number, (1,), generator=generator))

    def _view(self, chosen: int, variant: int) -> tuple[View, FeatureCache]:
        kept = self._views.pop((chosen, variant), None)
        if kept is None:
            lesson = self._lessons[chosen]
            generator = torch.Generator().manual_seed(lesson.seed + variant)
            plain = variant == PLAIN_LOOK
            distortion = PLAIN if plain else Distortion.draw(self._settings.distortion, generator)
            loaded = self._load(lesson.case)
            if chosen not in self._windows:  # a look at the whole volume: once is enough
                self._windows[chosen] = window_of(lesson, loaded, self._network)
            view = make_view(
                lesson.case,
                lesson.structure,
                loaded,
                window=self._windows[chosen],
                image_size=self._network.image_size,
                margin=self._network.inference.crop_margin,
                distortion=distortion,
                generator=generator,
                others=self._settings.structures - 1,
            )
            kept = view, FeatureCache(self._network, view)
        self._views[(chosen, variant)] = kept
        while len(self._views) > 1 and sum(_bytes(*one) for one in self._views.values()) > VIEW_BYTES:
            self._views.popitem(last=False)
        return kept

    def _plan(self, route: list[int], generator: Generator) -> PromptPlan:
        if len(route) > 1:
            return draw_plan(self._settings.prompts, len(route), generator)
        return PromptPlan("box", {0: 1})  # a painted slice alone teaches nothing

    @torch.no_grad()
    def _gather(self, cache: FeatureCache, route: list[int]) -> EncodedClips:
        slices = [cache[index] for index in route]
        levels = range(len(slices[0].feats))
        thumbnails = [one.thumbnail for one in slices if one.thumbnail is not None]
        return EncodedClips(
            [torch.cat([one.feats[level] for one in slices], dim=1) for level in levels],
            [torch.cat([one.pos[level] for one in slices], dim=1) for level in levels],
            slices[0].sizes,
            torch.cat(thumbnails) if thumbnails else None,
            1,
            len(route),
        )

    def encode(self, clip: RealClip) -> EncodedClips:
        """The clip's features; of frames with gradients."""
        return clip.encoded if clip.frames is None else encode_clips(self._network, clip.frames)  # type: ignore[return-value]


def _visible(view: View, route: list[int]) -> tuple[Tensor, list[int]]:
    """Masks, bool (O, T, N, N), of the structures that are known to be, and are seen, on the first slice of a route,
    and which ones of the view's these are."""
    there = np.flatnonzero(view.present[:, route[0]] & view.known[:, route[0]]).tolist()
    masks = view.masks(there, route)
    seen = masks[:, 0].flatten(1).any(dim=1)
    return masks[seen], [one for one, visible in zip(there, seen.tolist(), strict=True) if visible]


def window_of(lesson: Lesson, loaded: tuple[Volume, np.ndarray], network: SLMSAM2) -> Window:
    """The intensities that inference would show the network of a structure, of whose case all is ``loaded``."""
    structure = lesson.structure
    window = choose_window(loaded[0], loaded[1] == structure.value, structure.axis)
    return window.with_contrast(network.inference.contrast)


def _weights(lessons: Sequence[Lesson], replay: float) -> Tensor:
    """How often each lesson is drawn: ``replay`` of the time those that are not fresh."""
    fresh = torch.tensor([lesson.fresh for lesson in lessons])
    weights = torch.where(
        fresh, (1 - replay) / max(int(fresh.sum()), 1), replay / max(int((~fresh).sum()), 1)
    )
    return weights / weights.sum()


def draw_route(view: View, settings: ClipSettings, generator: Generator) -> list[int]:
    """Neighbouring slices, in either direction, from one on which the view's first structure is known to be.

    Clips that run past an end start near it. Where nothing is known for long (a label of single slices) the clip goes
    on to the next known slice, twice as far at most.
    """
    candidates = np.flatnonzero(view.present[0] & view.known[0])
    forward, past, pick = torch.rand(3, generator=generator).tolist()
    step = 1 if forward < 0.5 else -1
    if past < settings.past_end:
        end = candidates[-1] if step > 0 else candidates[0]
        near = candidates[np.abs(candidates - end) <= settings.slices - 3]
        candidates = near if near.size else candidates
    start = int(candidates[int(pick * len(candidates))])
    stop = len(view) if step > 0 else -1
    route = list(range(start, stop, step))
    following = [place for place, index in enumerate(route) if place and view.known[0, index]]
    length = max(settings.slices, min(following[0] + 1, 2 * settings.slices) if following else 0)
    return route[:length]


def _bytes(view: View, features: FeatureCache) -> int:
    return view.labels.nbytes * 3 + features.num_bytes
