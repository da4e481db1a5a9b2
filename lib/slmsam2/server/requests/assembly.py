"""From what came with a request, and what is remembered, to a job for the engine."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from slmsam2.engine.boxes import clearest_slice
from slmsam2.engine.job import Job
from slmsam2.engine.numbering import in_range, most_named, slice_settings, stack_planes, stack_slice
from slmsam2.engine.regions import Region
from slmsam2.engine.settings import STOP_AFTER, Settings
from slmsam2.engine.spans import prompt_digest
from slmsam2.errors import PromptError
from slmsam2.prompts import (
    Across,
    Given,
    Known,
    Marks,
    Planes,
    Prompt,
    chosen_in,
    corrected_in,
    corrected_planes,
    extent_of,
    is_empty,
    marked_across,
    painted_in,
    painted_of,
    with_marks,
    without_marks,
)
from slmsam2.prompts.marks import Box
from slmsam2.server.requests.painted import Painted
from slmsam2.server.requests.parameters import Parameters, PromptSlices
from slmsam2.server.requests.points import Clicks, marks_of, roi_box, roi_slices
from slmsam2.values import where_one_of
from slmsam2.volume import (
    SliceView,
    Volume,
    Window,
    choose_window,
    default_axis,
    painted_axis,
)

Corrected = Callable[[str], Planes | None]  # of a structure's name, see _corrections

SLICE_AXIS = 2  # 3D Slicer and OHIF count the slices of a 2D request along k


@dataclass(frozen=True)
class Request:
    """All that a request says.

    Attributes:
        image: the volume.
        painted: the label that came, or was saved.
        clicks: points and box; None for tasks that take none.
        flat: whether one slice is asked for.
        parameters: the rest.
        known: structure name -> what is remembered of it.
        image_id: of the image in the datastore; None for one that is not there.
    """

    image: Volume
    painted: Painted
    clicks: Clicks | None
    flat: bool
    parameters: Parameters
    known: Mapping[str, Known]
    image_id: str | None = None


def assemble(request: Request) -> tuple[Job, dict[str, int], dict[str, Given]]:
    """The job; name -> value of the structures that it propagates; and all that is given of them.

    The latter also where the job is not to go: it is in force again when a later one goes there.

    Raises:
        PromptError: nothing says where a structure is, or slices do not exist.
    """
    covered = request.painted.covered()
    corrected = _corrections(request, covered)
    axis = _axis(request, corrected)
    view = SliceView(request.image.shape, request.image.affine, axis)
    only = _only_slice(request, view)
    settings = _settings(request, view, only)
    known = {name: facts for name, facts in request.known.items() if facts.axis == axis}
    _check_named(request)
    if request.parameters.prompt_slices is not None:
        known = {}  # such a request says all itself: its answer is the same for everybody
    prompts: dict[int, dict[int, Prompt]] = {}
    across: dict[int, Across] = {}
    given = _given(request, view, known, only, covered, corrected)
    for name, said in given.items():
        slices = in_range(name, said.slices, settings, view)
        if any(not is_empty(prompt) for prompt in slices.values()):
            value = request.painted.structures[name]
            prompts[value] = slices
            if said.across:
                across[value] = said.across
    if not prompts:
        raise PromptError(_nothing_given(request))
    names = {name: value for name, value in request.painted.structures.items() if value in prompts}
    worked_on = {names[name]: facts for name, facts in known.items() if name in names}
    job = Job(
        view=view,
        given=_label(request, view, known),
        prompts=prompts,
        window=_window(request, known, prompts, view),
        settings=settings,
        cleaning=request.parameters.cleaning,
        regions={
            value: Region(*facts.region, shape=view.slice_shape)  # type: ignore[misc]
            for value, facts in worked_on.items()
            if facts.region is not None
        },
        before={
            value: _as_before(facts, prompts[value]) for value, facts in worked_on.items() if facts.plain
        },
        within=_within(request, view, names),
        across=across,
    )
    return job, names, given


def _as_before(known: Known, prompts: Mapping[int, Prompt]) -> dict[int, np.ndarray]:
    """Slice -> the structure as it was sent back before, where it lies between the same given slices as then."""
    count = len(known.returned)
    same = {index for index, one in prompts.items() if _is_same(one, known.prompts.get(index))}
    then, now = _neighbours(known.prompts, count), _neighbours(prompts, count)
    return {
        index: known.returned[index]
        for index in range(count)
        if then[index] == now[index] and same.issuperset(set(now[index]) - {None})
    }


def _is_same(one: Prompt, other: Prompt | None) -> bool:
    """Whether two prompts say the same; those that were not touched are one object."""
    return one is other or (other is not None and prompt_digest(one) == prompt_digest(other))


def _neighbours(prompts: Mapping[int, Prompt], count: int) -> list[tuple[int | None, int | None]]:
    """Of each slice the nearest given ones below and above; of a given one, itself."""
    given = sorted(prompts)
    framed = [None, *given, None]
    return [(framed[bisect_right(given, s)], framed[bisect_left(given, s) + 1]) for s in range(count)]


def _label(request: Request, view: SliceView, known: Mapping[str, Known]) -> np.ndarray:
    """The label, integers (S, H, W). Clicks come without one: then it is what was sent back before.

    It stays on slices that are not to change. Outside of a box over several of them only what was painted does.
    """
    stack = view.to_stack(request.painted.label)
    if request.clicks is None or request.flat or stack.any():
        return stack
    label: np.ndarray = np.zeros_like(stack)
    boxed = roi_slices(request.clicks, view) is not None
    for name, facts in known.items():
        label[painted_of(facts) if boxed else facts.returned] = request.painted.structures[name]
    return label


def _corrections(request: Request, covered: np.ndarray) -> Corrected:
    """Which planes of what is remembered of a structure come back corrected; None where it is no edited proposal.

    On a large volume that takes some tenths of a second, so it is found when asked for, once for each structure.
    """
    painted = request.painted

    @cache
    def corrected(name: str) -> Planes | None:
        known = request.known.get(name)
        if known is None:
            return None
        view = SliceView(request.image.shape, request.image.affine, known.axis)
        came = view.to_stack(painted.label == painted.structures[name])
        if came.shape != known.returned.shape:
            return None
        return corrected_planes(came, view.to_stack(covered), known.returned)

    return corrected


def _axis(request: Request, corrected: Corrected) -> int:
    """What was asked for; else that of the proposal that comes back corrected; else the one painted on."""
    parameters, painted = request.parameters, request.painted
    if parameters.axis is not None:
        return parameters.axis
    if request.flat:
        return SLICE_AXIS
    if isinstance(parameters.prompt_slices, dict):
        by_axis = [listed for listed in parameters.prompt_slices.values() if isinstance(listed, dict)]
        axis = most_named(by_axis, default_axis(request.image))
        if axis is not None:
            return axis
    for name, known in request.known.items():
        if corrected(name) is not None or not painted.label.any():
            return known.axis
    wanted = where_one_of(painted.label, painted.structures.values())
    return painted_axis(wanted, default_axis(request.image))


def _only_slice(request: Request, view: SliceView) -> int | None:
    """The one slice (of the stack) that a 2D request is about."""
    if not request.flat or request.clicks is None:
        return None
    clicks = request.clicks
    if clicks.slice is not None:
        _check_box_there(clicks, clicks.slice, view)
        return stack_slice(clicks.slice, view)
    if clicks.foreground:
        return view.stack_position(clicks.foreground[-1])[0]
    raise PromptError("Say which slice is meant: send its number as 'slice', or click on the structure.")


def _check_box_there(clicks: Clicks, index: int, view: SliceView) -> None:
    """Refuse a box with nothing clicked that is not on the slice (as stored) it is to be drawn on.

    3D Slicer sends the place of its red view in mm as the slice when a box is there and *Update* is pressed; it clears
    that slice of the segment, whatever comes back.
    """
    if clicks.roi is None:
        return
    low, high = clicks.roi[view.axis]
    if not low <= index <= high and not any(point[view.axis] == index for point in clicks.foreground):
        raise PromptError(
            f"The box is on the slices {low} to {high}, but slice {index} is asked for. In 3D Slicer, click on the "
            "structure inside the box, with 'Auto' on, instead of pressing Update; or take slmsam2_points."
        )


def _settings(request: Request, view: SliceView, only: int | None) -> Settings:
    if only is not None:
        return Settings(up=False, down=False, first=only, last=only)
    parameters = request.parameters
    first, last = parameters.first_slice, parameters.last_slice
    span = roi_slices(request.clicks, view) if request.clicks else None
    if span is not None:
        first, last = span[0] if first is None else first, span[1] if last is None else last
    return slice_settings(view, parameters.direction, first, last, STOP_AFTER, "independent")


def _given(
    request: Request,
    view: SliceView,
    known: Mapping[str, Known],
    only: int | None,
    covered: np.ndarray,
    corrected: Corrected,
) -> dict[str, Given]:
    """Structure name -> what is given of it."""
    painted, parameters = request.painted, request.parameters
    stack, anything = view.to_stack(painted.label), painted.label.any()
    marks = _marks(request, view, only)
    target = _target(request) if marks else None
    given: dict[str, Given] = {}
    for name, value in painted.structures.items():
        facts = known.get(name)
        if only is not None:
            shown = facts.returned[only] if facts else stack[only] == value
            said = Given({only: shown} if shown.any() else {})
        elif anything:
            came = stack == value
            if (chosen := _chosen(parameters.prompt_slices, stack, painted, name, view)) is not None:
                said = chosen_in(came, chosen)
            elif facts is not None and (planes := corrected(name)) is not None:
                said = corrected_in(came, view.to_stack(covered), facts, planes)
            else:
                said = painted_in(came)
        else:
            said = Given(without_marks(facts.prompts), facts.across) if facts else Given({})
        if name == target:
            beside = _beside_paint(marks, said.slices, request.clicks, view)
            said = Given(with_marks(said.slices, beside), marked_across(said.across, marks))
        given[name] = said
    return given


def _within(request: Request, view: SliceView, names: Mapping[str, int]) -> dict[int, Box]:
    """The box over several slices that the structure it is for is to stay in."""
    box = None if request.clicks is None or request.flat else roi_box(request.clicks, view)
    return {} if box is None else {names[name]: box for name in names if name == _target(request)}


def _beside_paint(
    marks: Mapping[int, Marks], prompts: Mapping[int, Prompt], clicks: Clicks | None, view: SliceView
) -> dict[int, Marks]:
    """The marks; of a box over several slices, where a mask is given, only on which slices to stay."""
    if clicks is None or roi_slices(clicks, view) is None:
        return dict(marks)
    masks = {index for index, mask in without_marks(prompts).items() if not is_empty(mask)}
    plain = {index: replace(one, box=None) if index in masks else one for index, one in marks.items()}
    return {index: one for index, one in plain.items() if one.extent.any() or one.outside.any()}


def _check_named(request: Request) -> None:
    named, painted = request.parameters.prompt_slices, request.painted.names
    unknown = sorted(set(named) - painted.keys()) if isinstance(named, dict) else []
    if unknown:
        raise PromptError(
            f"prompt_slices names {', '.join(unknown)}, of which nothing is painted. Painted are: {', '.join(painted)}."
        )


def _chosen(
    prompt_slices: PromptSlices | None, stack: np.ndarray, painted: Painted, name: str, view: SliceView
) -> Planes | None:
    """The slices asked for: listed for this structure; or of one list those on which it is painted, or none is."""
    if isinstance(prompt_slices, dict):
        own = prompt_slices.get(name)
        if own is None:
            return None
        planes = stack_planes(own if isinstance(own, dict) else {view.axis: own}, view)
        if planes and 0 not in planes:
            raise PromptError(
                f"prompt_slices names none of {name} along axis {view.axis}, along which slices are counted here. Name "
                "one, or ask for another axis."
            )
        return planes
    if prompt_slices is None:
        return None
    slices = [stack_slice(index, view) for index in prompt_slices]
    value, values = painted.structures[name], list(painted.structures.values())
    return {0: [s for s in slices if (stack[s] == value).any() or not np.isin(stack[s], values).any()]}


def _marks(request: Request, view: SliceView, only: int | None) -> dict[int, Marks]:
    """Clicks and box, or the strokes of Slicer's scribbles layers, per slice."""
    if request.clicks is not None:
        return marks_of(request.clicks, view, only, partial(_clearest_slice, request, view))
    if request.painted.strokes is None:
        return {}
    inside, outside = (view.to_stack(layer) for layer in request.painted.strokes)
    marked = np.flatnonzero((inside | outside).any(axis=(1, 2)))
    return {int(index): Marks(inside[index].copy(), outside[index].copy()) for index in marked}


def _clearest_slice(request: Request, view: SliceView, box: Box, slices: tuple[int, int]) -> int:
    """The slice to draw a box over several on."""
    window = request.parameters.window
    if window is None:
        boxed = np.zeros_like(request.image.array, dtype=bool)
        left, top, right, bottom = (round(edge) for edge in box)
        view.to_stack(boxed)[sum(slices) // 2, top:bottom, left:right] = True
        window = choose_window(request.image, boxed, view.axis)
    return clearest_slice(view.to_stack(request.image.array), window, view.spacing[1:], box, slices)


def _target(request: Request) -> str:
    """The structure that marks are about."""
    names = list(request.painted.structures)
    selected = request.parameters.selected
    if selected in names:
        return str(selected)
    if len(names) == 1:
        return names[0]
    raise PromptError(
        f"Say which structure the clicks are for: send selected_label_name, one of: {', '.join(names)}."
    )


def _window(
    request: Request, known: Mapping[str, Known], prompts: Mapping[int, Mapping[int, Prompt]], view: SliceView
) -> Window:
    """What was asked for, else that of the requests before, else what suits the voxels given."""
    if request.parameters.window is not None:
        return request.parameters.window
    for facts in known.values():
        if facts.window is not None:
            return Window(*facts.window)
    wanted = np.zeros_like(request.image.array, dtype=bool)
    stack = view.to_stack(wanted)
    for given in prompts.values():
        for index, prompt in given.items():
            stack[index] |= extent_of(prompt)
    return choose_window(request.image, wanted, view.axis)


def _nothing_given(request: Request) -> str:
    if request.clicks is not None:
        return "Nothing says where the structure is. Click on it, or draw a box around it, and try again."
    return "Nothing is painted: paint the structure on at least one slice and try again."
