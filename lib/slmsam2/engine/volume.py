"""From an image and a partly painted label to the whole label."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.engine.cleaning import Cleaning
from slmsam2.engine.job import Job, solve
from slmsam2.engine.kin import exemplars_of_kin
from slmsam2.engine.numbering import Direction, in_range, most_named, slice_settings, stack_planes
from slmsam2.engine.progress import Progress
from slmsam2.engine.regions import Region
from slmsam2.engine.settings import STOP_AFTER, Order
from slmsam2.engine.workspace import Workspace
from slmsam2.errors import ConfigurationError, GridError, PromptError, VolumeError
from slmsam2.modeling import QUALITY, SLMSAM2, build_model, checkpoint_path
from slmsam2.planes import sketched_planes
from slmsam2.prompts import Across, Prompt, masks_across, painted_structures, prompts_from_label
from slmsam2.values import where_one_of
from slmsam2.volume import (
    SliceView,
    Volume,
    Window,
    choose_window,
    default_axis,
    label_on_grid,
    label_values,
    painted_axis,
    parse_window,
    read_label_of,
    read_volume,
)

Source = str | Path | Volume | np.ndarray


def propagate_volume(
    image: Source,
    label: Source,
    *,
    model: str | SLMSAM2 = "slm_sam2_nano",
    axis: int | None = None,
    structures: Sequence[str | int] | None = None,
    label_names: dict[str, int] | None = None,
    prompt_slices: Sequence[int] | Mapping[int, Sequence[int]] | None = None,
    window: str | Sequence[float] | None = None,
    preset: str | None = None,
    direction: Direction = "both",
    first_slice: int | None = None,
    last_slice: int | None = None,
    stop_after: int | None = STOP_AFTER,
    order: Order = "independent",
    cleaning: Cleaning | None = None,
    regions: Mapping[str, Sequence[int]] | None = None,
    model_dir: str | Path | None = None,
    device: str = "cpu",
    speed: str = QUALITY,
    progress: Progress | None = None,
    workspace: Workspace | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Propagate painted slices through a volume.

    All slice numbers count along the slice axis of the image as stored, from 0.

    Args:
        image: path, Volume, or array (I, J, K) as nibabel gives it.
        label: path, Volume, or integer array on the image's grid: 0 is background, a value per structure, only the
            painted slices filled. Those that are whole tell what the other of a pair, or of a series, is like.
        model: name of a model in ``model_dir``, or a built network.
        axis: stored axis to go along; None: the one that was painted on, else the coarsest, else the axial one.
        structures: names or values to propagate; None for all that are painted.
        label_names: structure name -> value.
        prompt_slices: painted slices to take; the others are found anew. On a slice where none of the structures is
            painted, they are not. A list for each axis, if they were painted in several planes; the published order
            takes slices of one. None takes all painted ones, and finds out in which planes.
        window, preset: intensity window ("level/width" or [level, width]; or a preset's name). None: chosen from
            the data.
        direction: "both", "forward" (towards higher slice numbers) or "backward".
        first_slice, last_slice: range to stay in, inclusive.
        stop_after: slices in a row without the structure after which a direction ends; None never ends early.
        order: see :class:`slmsam2.engine.Settings`.
        cleaning: optional post-processing.
        regions: structure name -> region of an earlier report, to be looked at again if it still suits.
        model_dir: see :func:`slmsam2.modeling.model_directory`.
        device: where a model given by name runs.
        speed: of a model given by name, see :mod:`slmsam2.modeling.speed`.
        progress: called with (slices done, slices to do at most); what it raises ends the run.
        workspace: keeps what later calls on the same image can use; the answer is the same without.

    Returns:
        The label volume, integers (I, J, K) on the image's own grid, painted slices verbatim; and a report, ready
        for JSON: axis, window (the lowest and the highest intensity shown), suggested_slice, structures (see
        :func:`structure_reports`), model, version, speed, looks and shapes (names of the structures known from others),
        latencies in seconds.

    Raises:
        SlmSam2Error: a subclass that says what was wrong with the image, the label, a parameter or the model.
    """
    start = time.perf_counter()
    _check_listed("structures", structures)
    _check_listed("prompt_slices", prompt_slices)
    if isinstance(prompt_slices, Mapping):
        for listed in prompt_slices.values():
            _check_listed("prompt_slices", listed)
    volume = as_volume(image)
    painted = _label_array(label, volume)
    names = painted_structures(painted, names=label_names, selected=structures)
    values = list(names.values())
    if axis is None and isinstance(prompt_slices, Mapping):
        axis = most_named([prompt_slices], default_axis(volume))
    axis, chosen = axis_and_window(volume, where_one_of(painted, values), axis, parse_window(window, preset))
    view = SliceView(volume.shape, volume.affine, axis)
    given = view.to_stack(painted)
    planes = _planes(prompt_slices, view)
    if planes is not None and order == "published" and planes.keys() - {0}:
        raise ConfigurationError(
            "The published order takes slices of one axis only: use 'independent' for several."
        )
    prompts, across = _prompts(given, values, planes, alone=order == "published")
    names = {name: value for name, value in names.items() if value in prompts}
    settings = slice_settings(view, direction, first_slice, last_slice, stop_after, order)
    in_reach = {value: in_range(name, prompts[value], settings, view) for name, value in names.items()}
    alone = order == "published"  # what was published knows of no others
    done = {} if alone else {name: value for name, value in (label_names or {}).items() if name not in names}
    alike = exemplars_of_kin(given, view, done, names)
    network = model if isinstance(model, SLMSAM2) else load_model(model, model_dir, device, speed)
    job = Job(
        view,
        given,
        in_reach,
        chosen,
        settings,
        cleaning or Cleaning(),
        _regions(regions, names, view),
        exemplars={names[name]: kin for name, kin in alike.items()},
        together=not alone,
        across=across,
    )
    return solve(network, volume, job, names, progress=progress, workspace=workspace, start=start)


def axis_and_window(
    volume: Volume, wanted: np.ndarray, axis: int | None, window: Window | None
) -> tuple[int, Window]:
    """What was asked for, else what suits the painted voxels ``wanted``, bool (I, J, K).

    Raises:
        ConfigurationError: there is no such axis.
    """
    if axis is not None and (not isinstance(axis, (int, np.integer)) or axis not in (0, 1, 2)):
        raise ConfigurationError(f"There is no axis {axis!r}: choose 0, 1 or 2, or None.")
    if axis is None:
        axis = painted_axis(wanted, default_axis(volume))
    return axis, window or choose_window(volume, wanted, axis)


def load_model(
    name: str, model_dir: str | Path | None = None, device: str = "cpu", speed: str = QUALITY
) -> SLMSAM2:
    """The model of this name with its weights.

    Raises:
        CheckpointError: there are none, or they do not fit.
        ConfigurationError: no such model or speed.
    """
    weights = checkpoint_path(name, model_dir)
    return build_model(name, checkpoint=weights, device=device, model_dir=model_dir, speed=speed)


def as_volume(image: Source) -> Volume:
    """Read, wrap or pass on an image; an array without geometry is taken as RAS+ with 1 mm voxels.

    Raises:
        VolumeError: it cannot be read, or is none of these.
    """
    if isinstance(image, Volume):
        return image
    if isinstance(image, np.ndarray):
        return Volume(image, np.eye(4), None, None)
    return read_volume(_path(image, "image"))


def _path(source: Any, what: str) -> str | os.PathLike[str]:
    if not isinstance(source, (str, os.PathLike)):
        raise VolumeError(f"The {what} is a {type(source).__name__}: give a path, a Volume or a numpy array.")
    return source


def _label_array(label: Source, volume: Volume) -> np.ndarray:
    """The label on the image's grid, integers (I, J, K)."""
    if isinstance(label, np.ndarray):
        if label.shape != volume.shape:
            raise GridError(
                f"The label's shape {label.shape} is not the image's {volume.shape}; give an array on the image's grid."
            )
        return _whole(label)
    if isinstance(label, Volume):
        return _whole(label_on_grid(label, volume))
    return _whole(read_label_of(_path(label, "label"), volume))


def _check_listed(name: str, given: Any) -> None:
    """Refuse a single thing where a list is wanted."""
    if given is not None and (isinstance(given, str) or not isinstance(given, Iterable)):
        raise PromptError(f"{name} is {given!r}: give a list, such as [{given!r}].")


def _whole(label: np.ndarray) -> np.ndarray:
    return label if label.dtype.kind in "iu" else label_values(label, "array").astype(np.int32)


def _planes(
    slices: Sequence[int] | Mapping[int, Sequence[int]] | None, view: SliceView
) -> dict[int, list[int]] | None:
    """Slices that a user names, by dimension of the stack."""
    if slices is None:
        return None
    by_axis = slices if isinstance(slices, Mapping) else {view.axis: slices}
    return stack_planes(by_axis, view)


def _prompts(
    given: np.ndarray, values: Sequence[int], planes: Mapping[int, Sequence[int]] | None, *, alone: bool
) -> tuple[dict[int, dict[int, Prompt]], dict[int, Across]]:
    """What is given of each structure on slices, and in other planes.

    Args:
        given: integers (S, H, W).
        planes: that count; None: those that were painted, as it seems.
        alone: whether slices alone count.
    """
    named = None if planes is None else planes.get(0, [])
    prompts: dict[int, dict[int, Prompt]] = {
        value: dict(masks) for value, masks in prompts_from_label(given, values, prompt_slices=named).items()
    }
    across: dict[int, Across] = {}
    for value in [] if alone else prompts:
        mask = given == value
        found = sketched_planes(mask) if planes is None else planes
        if found is None or 0 not in found:
            continue
        if planes is None:
            prompts[value] = {index: mask[index] for index in found[0]}
        said = masks_across(mask, found)
        if planes is not None:
            said = _not_of_others(said, masks_across(np.isin(given, values), found))
        if said:
            across[value] = said
    return prompts, across


def _not_of_others(
    masks: Mapping[int, Mapping[int, np.ndarray]], of_all: Mapping[int, Mapping[int, np.ndarray]]
) -> dict[int, dict[int, np.ndarray]]:
    """A structure's masks but for those planes on which only others are."""
    said = {
        dimension: {
            index: one for index, one in planes.items() if one.any() or not of_all[dimension][index].any()
        }
        for dimension, planes in masks.items()
    }
    return {dimension: planes for dimension, planes in said.items() if planes}


def _regions(
    regions: Mapping[str, Sequence[int]] | None, names: dict[str, int], view: SliceView
) -> dict[int, Region]:
    """value -> region of an earlier report."""
    known = {names[name]: edges for name, edges in (regions or {}).items() if name in names}
    for edges in known.values():
        _check_region(edges, view.slice_shape)
    return {value: Region(*edges, shape=view.slice_shape) for value, edges in known.items()}  # type: ignore[misc, arg-type]


def _check_region(edges: Sequence[int], shape: tuple[int, int]) -> None:
    fits = len(edges) == 4 and all(isinstance(edge, (int, np.integer)) for edge in edges)
    if not fits or not (0 <= edges[0] < edges[1] <= shape[0] and 0 <= edges[2] < edges[3] <= shape[1]):
        raise PromptError(
            f"{list(edges)} is no region of slices of {shape[0]} x {shape[1]} pixels. Give it as the report did."
        )
