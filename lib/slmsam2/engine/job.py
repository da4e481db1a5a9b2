"""One piece of work: prompts on a volume in, the label volume and a report out."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from slmsam2.engine.cleaning import Cleaning, clean
from slmsam2.engine.confidence import read_calibration
from slmsam2.engine.crossing import DIMENSIONS, Crossing, Crossings, crossing_of, planes_between
from slmsam2.engine.kin import follow_each_other
from slmsam2.engine.labels import write_labels
from slmsam2.engine.progress import Progress, Runs
from slmsam2.engine.propagation import Prompts
from slmsam2.engine.regions import Region
from slmsam2.engine.report import structure_reports, suggestions
from slmsam2.engine.settings import Settings
from slmsam2.engine.structures import Context, Found, propagate_structures
from slmsam2.engine.workspace import Workspace
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.prompts import Across
from slmsam2.prompts.marks import Box
from slmsam2.volume import Exemplar, Sections, SliceView, Volume, Window


@dataclass(frozen=True)
class Job:
    """What is to be propagated, and how; slices are numbered as in the stack.

    Attributes:
        view: the volume as a stack (S, H, W).
        given: integers (S, H, W), the label that came with the request.
        prompts: {value: {slice: bool (H, W), or marks}}.
        window: intensities that the network sees.
        settings: directions, range, stop rule.
        cleaning: post-processing.
        regions: value -> region of an earlier request.
        looks: value -> what the structure looks like in other volumes; None: as far as the network knows.
        exemplars: value -> the structure in other volumes, and those like it in this one.
        together: whether structures that are alike, and of which nothing is known, tell of each other.
        before: value -> {slice: bool (H, W)}, as a plain job before returned it, where it lies between the same
            prompts. Known shapes are laid upon all that is given, but where nothing new is computed the structure
            stays, if this job is plain as well.
        within: value -> box that the structure does not leave, on any slice.
        across: value -> what was given of it in other planes, beside its prompts.
    """

    view: SliceView
    given: np.ndarray
    prompts: Prompts
    window: Window
    settings: Settings
    cleaning: Cleaning = field(default_factory=Cleaning)
    regions: Mapping[int, Region] = field(default_factory=dict)
    looks: Mapping[int, Moments] | None = None
    exemplars: Mapping[int, Sequence[Exemplar]] = field(default_factory=dict)
    together: bool = True
    before: Mapping[int, Mapping[int, np.ndarray]] = field(default_factory=dict)
    within: Mapping[int, Box] = field(default_factory=dict)
    across: Mapping[int, Across] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it goes everywhere and cleans nothing."""
        return not (self.settings.bounded or self.within) and self.cleaning == Cleaning()


def solve(
    network: SLMSAM2,
    volume: Volume,
    job: Job,
    names: dict[str, int],
    *,
    progress: Progress | None = None,
    workspace: Workspace | None = None,
    start: float | None = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Do a job.

    Args:
        volume: the image of ``job.view``.
        names: name -> value of the structures in ``job.prompts``.
        start: when the work on this request began (``time.perf_counter``), for the latencies.

    Returns:
        The label volume (I, J, K) as stored, of the type of ``job.given``; and the report, see
        :func:`slmsam2.engine.propagate_volume`.
    """
    loaded = time.perf_counter()
    start = loaded if start is None else start
    job = replace(job, looks=_looks(network, job, names))
    found = _found(network, volume, job, names, progress, workspace)
    told = {value for part in found for value in part.propagation.told_by_others}
    result = np.zeros_like(volume.array, dtype=job.given.dtype)  # stored alike: slices lie together in both
    stack = job.view.to_stack(result)
    alone = told - job.across.keys()
    before = {value: masks for value, masks in job.before.items() if job.plain and value in alone}
    write_labels(found, job.prompts, job.given, stack, job.settings, before, job.within, job.across)
    clean(stack, job.prompts, job.cleaning, job.settings, job.across)
    report = _report(network, job, names, found, stack, told)
    encoding = sum(part.encode_seconds for part in found)
    finished = time.perf_counter()
    report["latencies"] = {
        "load": round(loaded - start, 4),
        "encode": round(encoding, 4),
        "propagate": round(finished - loaded - encoding, 4),
        "total": round(finished - start, 4),
    }
    return result, report


def _looks(network: SLMSAM2, job: Job, names: Mapping[str, int]) -> Mapping[int, Moments]:
    """Value -> what the structure looks like in other volumes, as the job says, else as the network knows."""
    if job.looks is not None:
        return job.looks
    return {value: network.looks[name] for name, value in names.items() if name in network.looks}


def _found(
    network: SLMSAM2,
    volume: Volume,
    job: Job,
    names: Mapping[str, int],
    progress: Progress | None,
    workspace: Workspace | None,
) -> list[Found]:
    """What is found of the structures, with what others like them tell."""
    view = job.view
    others = _others(job, view)
    runs = Runs(progress, 1)
    crossings = _crossings(network, volume, job, runs, workspace)
    found = propagate_structures(
        network,
        view.to_stack(volume.array),
        job.window,
        job.prompts,
        view.spacing,
        job.settings,
        Context(job.regions, job.looks or {}, others, crossings),
        progress=runs.report,
        workspace=workspace,
    )
    if job.together:
        follow_each_other(found, job.prompts, names, view, others.keys())
    return found


def _others(job: Job, view: SliceView) -> dict[int, list[Sections]]:
    """Value -> what is like the structure, along the slices of a view."""
    return {value: [one.along(view.patient_axis) for one in known] for value, known in job.exemplars.items()}


def _crossings(
    network: SLMSAM2, volume: Volume, job: Job, runs: Runs, workspace: Workspace | None
) -> Crossings:
    """What is found from what was given in other planes, each propagated along these.

    Without looks: these were learnt on slices, where things look otherwise.
    """
    calibration = read_calibration(network.info.get("confidence"))
    given = [
        (along, value, found) for along in DIMENSIONS for value, found in _prompts_along(job, along).items()
    ]
    runs.runs += len(given)
    crossings: dict[int, list[Crossing]] = {}
    for along, value, prompts in given:
        view = job.view.across(along)
        planes = planes_between(prompts, view.num_slices, view.spacing)
        numbered = {value: {planes.index(index): mask for index, mask in prompts.items()}}
        stack = view.to_stack(volume.array)
        (found,) = propagate_structures(
            network,
            stack if len(planes) == len(stack) else stack[planes],
            job.window,
            numbered,
            (view.spacing[0] * len(stack) / len(planes), *view.spacing[1:]),
            Settings(stop_after=job.settings.stop_after),
            Context(others=_others(job, view)),
            progress=runs.report,
            workspace=workspace,
        )
        runs.next()
        crossing = crossing_of(
            found.propagation, found.region, numbered[value], planes, job.view, along, calibration
        )
        crossings.setdefault(value, []).append(crossing)
    return Crossings(job.across, crossings, calibration)


def _prompts_along(job: Job, dimension: int) -> dict[int, dict[int, np.ndarray]]:
    """Value -> prompts of the view along another dimension; of structures that are somewhere on these planes."""
    view, other = job.view, job.view.across(dimension)
    prompts = {}
    for value, across in job.across.items():
        planes = across.get(dimension, {})
        if any(mask.any() for mask in planes.values()):
            prompts[value] = {
                other.stack_index(view.stored_index(index, dimension)): _turned(mask, view, other, dimension)
                for index, mask in planes.items()
            }
    return prompts


def _turned(mask: np.ndarray, view: SliceView, other: SliceView, dimension: int) -> np.ndarray:
    """A plane of one view, all slices of it and its columns or rows, as a slice of the other."""
    turned: np.ndarray = other.to_stack(view.to_stored(np.expand_dims(mask, dimension)))[0]
    return turned


def _report(
    network: SLMSAM2,
    job: Job,
    names: dict[str, int],
    found: Sequence[Found],
    stack: np.ndarray,
    told: Collection[int],
) -> dict[str, Any]:
    """The report but for the latencies.

    Args:
        stack: the label as it is returned, integers (S, H, W).
        told: values of the structures that others told of.
    """
    calibration = read_calibration(network.info.get("confidence"))
    reports = structure_reports(found, job.prompts, stack, names, job.view, calibration, job.across)
    return {
        "axis": job.view.axis,
        "window": [job.window.low, job.window.high],
        **suggestions(reports),
        "model": network.info["model"],
        "version": network.info["version"],
        "speed": network.info["speed"],
        "looks": [name for name, value in names.items() if value in (job.looks or {})],
        "shapes": [name for name, value in names.items() if value in told],
        "structures": reports,
    }
