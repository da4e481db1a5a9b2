"""Propagation by spans: the slices between two neighbouring prompts, or beyond the outermost ones.

What is found on a way through a span depends on the prompt that it starts from alone. So a new prompt changes only the
span it lies in; there, the ways from the prompts before are only cut off at it, and those are taken from the workspace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from slmsam2.engine.appearance import Appearance
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.settings import END_OF_RANGE, END_OF_STRUCTURE, SAID_ABSENT, Settings, Stop
from slmsam2.engine.tracker import ObjectTracker, absent_output, is_absent
from slmsam2.engine.walk import Walk, absent_at_the_end
from slmsam2.engine.workspace import Workspace, tensor_bytes
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.modeling.network import SliceOutput
from slmsam2.prompts import Marks, Prompt, is_empty

BLEND_LIMIT = 10.0  # of mask logits, when those of two ways are mixed
LEAST_EXPECTED = 0.05  # overlap that a way counts with, when less is expected


@dataclass(frozen=True)
class Span:
    """Slices ``first`` to ``last``; ``low`` and ``high`` are the prompted slices at its ends, None at the range's."""

    low: int | None
    high: int | None
    first: int
    last: int


@dataclass(frozen=True)
class Way:
    """What was found on a way from a prompt, kept for later requests.

    Attributes:
        outputs: slice -> what was found, in order, until the end of the object or of the way.
        seen: fingerprints of the slices that it was to go over.
        ended: whether the object was found to end.
    """

    outputs: dict[int, SliceOutput]
    seen: list[bytes]
    ended: bool

    def covers(self, seen: list[bytes]) -> bool:
        """Whether it says all of a way over these slices."""
        both = min(len(seen), len(self.seen))
        return self.seen[:both] == seen[:both] and (both == len(seen) or self.ended)


@dataclass(frozen=True)
class Pass:
    """One way through a span: what was found per slice, in order, and why it ended."""

    outputs: dict[int, SliceOutput]
    stop: Stop


@dataclass
class Tracked:
    """What the spans of one object gave.

    Attributes:
        prompted: slice -> output of each prompted slice.
        up, down: slice -> output of the passes towards higher, towards lower slice numbers.
        stops: where and why each direction ended, beyond the outermost prompts.
        spans: all of them, ascending.
        redone: slices that were computed for this request.
    """

    prompted: dict[int, SliceOutput] = field(default_factory=dict)
    up: dict[int, SliceOutput] = field(default_factory=dict)
    down: dict[int, SliceOutput] = field(default_factory=dict)
    stops: dict[str, Stop] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    redone: set[int] = field(default_factory=set)


class SpanTracker:
    """Propagates one object between its prompts.

    Args:
        model: the network in eval mode.
        features: features of the volume's slices; their workspace keeps the passes.
        settings: directions, range and stop rule.
        bounds: first and last slice of the range.
        tick: called for each prompt, and for each slice on each way through a span.
        looks: of the object in other volumes, where they were learnt.
    """

    def __init__(
        self,
        model: SLMSAM2,
        features: FeatureCache,
        settings: Settings,
        bounds: tuple[int, int],
        tick: Callable[[], None],
        looks: Moments | None = None,
    ):
        self._model, self._features, self._settings, self._looks = model, features, settings, looks
        self._bounds, self._tick = bounds, tick
        self._outputs: dict[int, SliceOutput] = {}
        self._digests: dict[int, bytes] = {}
        self._appearances: dict[frozenset[int], Appearance] = {}
        self._result = Tracked()

    def run(self, prompts: dict[int, Prompt]) -> Tracked:
        """All spans of an object.

        Painted slices are taken first. Marked ones follow in the order given, each as a correction of what is found on
        its slice from those before; those that only say where the structure is not come last.

        Args:
            prompts: {slice: prompt}, at least one of which is not empty.
        """
        marked = {index: prompt for index, prompt in prompts.items() if isinstance(prompt, Marks)}
        for index in sorted(prompts.keys() - marked.keys()):
            self._settle(index, prompts[index], None)
        for index, marks in sorted(marked.items(), key=lambda item: not item[1].says_where):
            self._settle(index, marks, self._prior(index) if marks.base is None else None)
        result = self._result
        result.prompted = dict(self._outputs)
        result.spans = spans_between(self._outputs, self._bounds)
        for span in result.spans:
            up, down = self._passes(span, self._tick)
            if up is not None:
                result.up |= up.outputs
                result.stops["up"] = up.stop
            if down is not None:
                result.down |= down.outputs
                result.stops.setdefault("down", down.stop)
        return result

    def _settle(self, index: int, prompt: Prompt, prior: Tensor | None) -> None:
        """Make a slice a prompted one."""
        known = [self._features.digest(index), prompt_digest(prompt), _bytes(prior), self._model.recent_n]
        self._digests[index] = _digest(known)
        key = ("prompt", self._digests[index])
        self._outputs[index] = self._kept(key, lambda: self._prompt(index, prompt, prior), _output_bytes)
        self._tick()

    def _prompt(self, index: int, prompt: Prompt, prior: Tensor | None) -> SliceOutput:
        self._result.redone.add(index)
        tracker = ObjectTracker(self._model, self._features)
        if is_empty(prompt) and prior is None:
            return absent_output(self._model.image_size // 4)
        return (
            tracker.mark(index, prompt, prior) if isinstance(prompt, Marks) else tracker.prompt(index, prompt)
        )

    def _present(self) -> set[int]:
        """The prompted slices that the object is on, and that can be started from."""
        return {index for index, out in self._outputs.items() if "maskmem_features" in out}

    def _prior(self, index: int) -> Tensor | None:
        """Mask logits (n, n) of a slice from the prompts so far; None where nothing is found."""
        if not self._present():
            return None
        span = next(s for s in spans_between(self._outputs, self._bounds) if s.first <= index <= s.last)
        ways = [way.outputs for way in self._passes(span, lambda: None) if way is not None]
        outputs = [way[index] for way in ways if index in way]
        if not outputs or all(is_absent(out) for out in outputs):
            return None
        return blend(index, span, outputs)["pred_masks"][0, 0]

    def _passes(self, span: Span, tick: Callable[[], None]) -> tuple[Pass | None, Pass | None]:
        """The way up and the way down through a span, each from an end that the object is on."""
        present = self._present()
        slices = range(span.first, span.last + 1)
        up = self._settings.up and span.low in present
        down = self._settings.down and span.high in present
        return (
            self._pass(span.low, span.high, slices, tick) if up else None,  # type: ignore[arg-type]
            self._pass(span.high, span.low, slices[::-1], tick) if down else None,  # type: ignore[arg-type]
        )

    def _pass(self, start: int, end: int | None, route: range, tick: Callable[[], None]) -> Pass:
        """One way through a span: as far as an earlier one from the same prompt went, or computed now."""
        way = self._known(start, route)
        if way is None:
            way = self._travel(start, route, tick)
            self._result.redone.update(way.outputs)
        else:
            for _ in route:
                tick()
        outputs = {index: way.outputs[index] for index in route if index in way.outputs}
        absent = absent_at_the_end(outputs)
        stop = Stop(route[-1] if len(route) else start, END_OF_RANGE)
        if end is not None and end not in self._present():
            stop = Stop(end, SAID_ABSENT)
        if self._ends(absent):
            stop = Stop(list(outputs)[-absent], END_OF_STRUCTURE)
        return Pass(outputs, stop)

    def _ends(self, absent: int) -> bool:
        """Whether an object that was not found on so many slices in a row has ended."""
        return self._settings.stop_after is not None and absent >= self._settings.stop_after

    def _known(self, start: int, route: range) -> Way | None:
        """A way found before that says all of this one."""
        workspace = self._features.workspace
        if workspace is None:
            return None
        way: Way | None = workspace.passes.get(self._key(workspace, start, route))
        return way if way is not None and way.covers(self._seen(route)) else None

    def _travel(self, start: int, route: range, tick: Callable[[], None]) -> Way:
        """Follow the object along ``route`` until its end, and keep what is found."""
        tracker = ObjectTracker(self._model, self._features, self._looks, self._appearances)
        tracker.bank["cond_frame_outputs"] = {start: self._outputs[start]}
        walk = Walk(tracker, start, self._outputs[start], route.step, self._model.stride)
        ended = False
        for index in route:
            if not ended:
                walk.to(index)
                tracker.forget_beyond((index, start))
                ended = self._ends(walk.absent)
            tick()
        way = Way(walk.outputs, self._seen(route), ended)
        workspace = self._features.workspace
        if workspace is not None:
            size = sum(map(_output_bytes, way.outputs.values()))
            workspace.passes.put(self._key(workspace, start, route), way, size)
        return way

    def _key(self, workspace: Workspace, start: int, route: range) -> tuple:
        """What a way is kept under: all that it depends on but the slices that it goes over."""
        model = self._model
        how: list[Any] = [start, route.step, self._settings.stop_after, len(self._features)]
        how += [model.recent_n, model.short_branch, model.stride]
        how += [self._looks.digest()] if self._looks else []
        if model.stride > 1:  # slices passed by before one that is looked at depend on it
            how += [route]
        return workspace.number_of(model), "way", _digest([*how, self._digests[start]])

    def _seen(self, route: range) -> list[bytes]:
        return [self._features.digest(index) for index in route] if self._features.workspace else []

    def _kept(self, key: tuple, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What the workspace keeps under ``key`` for this network, else made now."""
        workspace = self._features.workspace
        if workspace is None:
            return make()
        return workspace.passes.get_or_make((workspace.number_of(self._model), *key), make, size)


def spans_between(prompted: Collection[int], bounds: tuple[int, int]) -> list[Span]:
    """The spans between prompted slices and beyond them, within ``bounds``; some may have no slice."""
    ends = [None, *sorted(prompted), None]
    return [
        Span(low, high, bounds[0] if low is None else low + 1, bounds[1] if high is None else high - 1)
        for low, high in pairwise(ends)
    ]


def slices_to_visit(prompts: dict[int, Prompt], settings: Settings, bounds: tuple[int, int]) -> int:
    """How many times :class:`SpanTracker` will tick, as far as can be known before."""
    total = len(prompts)
    for span in spans_between(prompts, bounds):
        ways = (span.low, settings.up), (span.high, settings.down)
        starts = sum(on and end is not None and not is_empty(prompts[end]) for end, on in ways)
        total += starts * (span.last + 1 - span.first)
    return total


def blend(index: int, span: Span, outputs: list[SliceOutput]) -> SliceOutput:
    """One output as it is; of two, up and down, the mean.

    That from the nearer prompt counts more, and that of which the network expects more overlap. Logits are clamped
    first, so that "absent" is only a vote.
    """
    if len(outputs) == 1 or span.low is None or span.high is None:
        return outputs[0]
    share = (index - span.low) / (span.high - span.low)
    nearness = zip((1.0 - share, share), outputs, strict=True)
    weights = [near * float(out["iou"].max().clamp(LEAST_EXPECTED, 1)) for near, out in nearness]
    pairs = [(weight / sum(weights), out) for weight, out in zip(weights, outputs, strict=True)]
    return {
        "pred_masks": sum(w * out["pred_masks"].clamp(-BLEND_LIMIT, BLEND_LIMIT) for w, out in pairs),
        "object_score_logits": sum(w * out["object_score_logits"] for w, out in pairs),
        "iou": sum(w * out["iou"] for w, out in pairs),
    }


def prompt_digest(prompt: Prompt) -> bytes:
    """A fingerprint of a prompt."""
    if not isinstance(prompt, Marks):
        return _digest([prompt.shape, prompt.tobytes()])
    base = b"" if prompt.base is None else prompt.base.tobytes()
    marks = [prompt.inside.tobytes(), prompt.outside.tobytes()]
    return _digest(
        [prompt.inside.shape, *marks, prompt.box, prompt.loose, prompt.first, prompt.base is None, base]
    )


def _digest(parts: Iterable[Any]) -> bytes:
    text = hashlib.blake2b(digest_size=16)
    for part in parts:
        text.update(part if isinstance(part, bytes) else repr(part).encode())
        text.update(b"|")
    return text.digest()


def _bytes(logits: Tensor | None) -> bytes:
    return b"" if logits is None else logits.cpu().numpy().tobytes()


def _output_bytes(out: SliceOutput) -> int:
    listed = [v for value in out.values() for v in (value if isinstance(value, list) else [value])]
    return tensor_bytes([v for v in listed if isinstance(v, Tensor)])
