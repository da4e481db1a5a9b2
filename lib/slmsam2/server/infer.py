"""The infer tasks: painted slices, clicks, boxes or a saved label in, the labelled volume out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list

from slmsam2.engine import Workspace
from slmsam2.engine.job import Job, solve
from slmsam2.engine.kin import exemplars_of_kin
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.modeling import SLMSAM2, SPEEDS, Moments
from slmsam2.prompts import Given, Known
from slmsam2.server.configuration import Configuration
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.learning.looks import SeenLooks
from slmsam2.server.learning.shapes import SeenShapes
from slmsam2.server.memory.proposals import Proposals
from slmsam2.server.memory.recalled import recall_all
from slmsam2.server.memory.steps import Key, Memory
from slmsam2.server.requests.assembly import Request, assemble
from slmsam2.server.requests.painted import Painted, nothing_painted, read_painted
from slmsam2.server.requests.parameters import (
    AUTO,
    AXES,
    CLEANING,
    DIRECTIONS,
    Parameters,
    ReplyFormat,
    parse_parameters,
)
from slmsam2.server.requests.points import parse_clicks
from slmsam2.server.requests.results import write_result
from slmsam2.server.requests.study import LabelFrom, Study
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.runs import Run, mine, runs
from slmsam2.server.running.shortage import give_back, room_for, with_less
from slmsam2.volume import PRESETS, Exemplar, Volume, read_volume

logger = logging.getLogger(__name__)

STUDY = "study"  # where the app leaves the Study in a request
UNNAMED = "structure"  # what is clicked on when the request names nothing


@dataclass(frozen=True)
class Kind:
    """What tells the tasks apart.

    Attributes:
        type: decides in which panel of 3D Slicer and OHIF the task is listed, and so what is sent.
        dimension: 2: one slice is asked for.
        label: where the label comes from.
        clicks: whether points and boxes are looked at.
    """

    type: InferType
    dimension: int
    description: str
    label: LabelFrom
    clicks: bool = False


KINDS = {
    "slmsam2": Kind(
        InferType.SCRIBBLES,
        3,
        "SLM-SAM 2: paint one slice of a structure, get the volume",
        LabelFrom.UPLOAD_OR_DATASTORE,
    ),
    "slmsam2_slice": Kind(
        InferType.DEEPGROW,
        2,
        "SLM-SAM 2: click on a structure or draw a box, get it on this slice",
        LabelFrom.UPLOAD_IF_ANY,
        clicks=True,
    ),
    "slmsam2_points": Kind(
        InferType.DEEPGROW,
        3,
        "SLM-SAM 2: click on a structure or draw a box on any slices, get the volume",
        LabelFrom.UPLOAD_IF_ANY,
        clicks=True,
    ),
    "slmsam2_saved": Kind(
        InferType.SEGMENTATION,
        3,
        "SLM-SAM 2: go on with the label that is saved on the server for this image",
        LabelFrom.DATASTORE,
    ),
}


class SlmSam2Infer(InferTask):
    """Propagates what the user gave through the volume.

    It announces no labels, or Slicer would run it by itself on every new image.

    Args:
        kind: which of the tasks.
        models: where the network comes from.
        memory: what is remembered of earlier requests.
        proposals: where first proposals are kept.
        workspace: what earlier requests computed.
        conf: device, preset and speed for requests that name none, and the bound on images and labels.
        looks: of structures in submitted labels; None: those that the network was trained with.
        shapes: of structures in submitted labels.
    """

    def __init__(
        self,
        kind: Kind,
        models: ModelStore,
        memory: Memory,
        proposals: Proposals,
        workspace: Workspace,
        conf: Configuration,
        looks: SeenLooks | None = None,
        shapes: SeenShapes | None = None,
    ) -> None:
        super().__init__(
            type=kind.type,
            labels=[],
            dimension=kind.dimension,
            description=kind.description,
            config=_config(kind, conf.device, conf.preset, conf.speed),
        )
        self._kind, self._models, self._workspace = kind, models, workspace
        self._memory, self._proposals = memory, proposals
        self._conf = conf
        self._looks, self._shapes = looks, shapes

    def info(self) -> dict[str, Any]:
        """MONAI Label's, and which weights there are."""
        return {**super().info(), "network": self._models.facts()}

    def is_valid(self) -> bool:
        return True

    def get_path(self, validate: bool = True) -> str:
        """The weights file, for MONAI Label's download of models."""
        return str(self._models.path)

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Run one inference.

        Args:
            request: MONAI Label's request, with a :class:`Study` under ``study``.

        Returns:
            Path of the labelmap (the image's own grid) and what is to be known about the run.

        Raises:
            SlmSam2Error: one of its kinds, with a sentence for the user.
        """
        try:
            return self._answer(request)
        finally:
            give_back()

    def _answer(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        begin = time.perf_counter()
        parameters = parse_parameters(request, self._conf.preset, self._conf.speed)
        run = mine.get() or runs.find(parameters.request_id) or Run()
        run.most_seconds = min(run.most_seconds, parameters.most_seconds)
        study: Study = request[STUDY]
        image, painted = with_less(
            lambda workspace: self._read(study, parameters, workspace), self._workspace
        )
        _check_values(painted, parameters.reply)
        keys = _keys(study, parameters, painted)
        if parameters.undo:
            return self._undo(keys, painted, image, parameters)
        asked = self._request(request, image, painted, parameters, keys)
        job, names, given = with_less(lambda _: assemble(asked), self._workspace)
        read = time.perf_counter()
        device = resolve_device(parameters.device or self._conf.device)
        turn = self._models.turns(device).take(run, parameters.client, short=asked.flat)
        with turn, self._models.busy(device):
            waited = time.perf_counter()
            run.check()
            array, report, solved = with_less(
                lambda workspace: self._solve(asked, job, names, device, run, workspace), self._workspace
            )
        done = time.perf_counter()
        if parameters.start_anew:  # not before: a request that fails changes nothing
            for key in keys.values():
                self._memory.forget(key)
                self._proposals.forget(key)
        if not asked.flat:
            self._remember(keys, asked, solved, given, array, report)
        array, names = _for_client(array, painted)
        path = write_result(array, image, parameters.reply)
        report["latencies"] |= {
            "read": round(read - begin, 3),
            "wait": round(waited - read, 3),
            "write": round(time.perf_counter() - done, 3),
            "total": round(time.perf_counter() - begin, 3),
        }
        return path, _reply(report, names)

    def _read(self, study: Study, parameters: Parameters, workspace: Workspace) -> tuple[Volume, Painted]:
        files = [file for file in (study.image, study.label) if file is not None]
        with room_for(max(inspect(file, self._conf.most_voxels) for file in files), self._workspace):
            image = read_volume(study.image) if study.uploaded else workspace.read(study.image)
            return image, self._painted(study, image, parameters)

    def _painted(self, study: Study, image: Volume, parameters: Parameters) -> Painted:
        if study.label is not None:
            empty = self._kind.clicks or parameters.undo
            return read_painted(study.label, study, image, parameters, empty=empty)
        wanted = parameters.structures or [parameters.selected or UNNAMED]
        if len(wanted) > 1:
            raise PromptError(f"Clicks are for one structure at a time. Send one of: {', '.join(wanted)}.")
        return nothing_painted(image, wanted[0])

    def _request(
        self,
        request: Mapping[str, Any],
        image: Volume,
        painted: Painted,
        parameters: Parameters,
        keys: Mapping[str, Key],
    ) -> Request:
        known = recall_all(self._memory, keys, painted, image, parameters)
        clicks = parse_clicks(request, image.shape) if self._kind.clicks else None
        flat = self._kind.dimension == 2
        return Request(image, painted, clicks, flat, parameters, known, request[STUDY].image_id)

    def _solve(
        self,
        asked: Request,
        job: Job,
        names: dict[str, int],
        device: str,
        run: Run,
        workspace: Workspace,
    ) -> tuple[np.ndarray, dict[str, Any], Job]:
        network = self._models.get(device, asked.parameters.speed)
        job = replace(
            job,
            looks=self._known_looks(network, asked, names),
            exemplars=self._known_exemplars(asked, job, names),
            together=self._shapes is not None,
        )
        array, report = solve(network, asked.image, job, names, progress=run.progress, workspace=workspace)
        return array, report, job

    def _known_looks(self, network: SLMSAM2, asked: Request, names: Mapping[str, int]) -> dict[int, Moments]:
        """Value -> looks; once a structure is worked on they stay, or what was found would change by others' labels."""
        found: dict[str, Moments | None] = {}
        if asked.parameters.prompt_slices is None:
            version = network.info["version"]
            found = {name: facts.looks for name, facts in asked.known.items() if facts.version == version}
        if names.keys() - found.keys():
            looks = self._looks.of(network, asked.image_id) if self._looks else network.looks
            found = {**looks, **found}
        return {value: one for name, value in names.items() if (one := found.get(name)) is not None}

    def _known_exemplars(
        self, asked: Request, job: Job, names: Mapping[str, int]
    ) -> dict[int, tuple[Exemplar, ...]]:
        """Value -> what is like the structure, in other volumes and in this one.

        Of others, those stay that were known when work on the structure began, in this run of the server. Where it is
        known from others, its neighbours in a series do not count.
        """
        known = asked.known if asked.parameters.prompt_slices is None else {}
        going_on = {name: facts for name, facts in known.items() if not facts.restored}
        found = {name: facts.exemplars for name, facts in going_on.items()}
        if self._shapes and not asked.flat:
            begun = names.keys() - going_on.keys()
            found |= self._shapes.known(begun, asked.image_id)
            done = {name: value for name, value in asked.painted.names.items() if name not in begun}
            for name, kin in exemplars_of_kin(job.given, job.view, done, names).items():
                here = [one for one in kin if one.kin == "twin" or not found[name]]
                found[name] = (*found[name], *here)
        return {value: found[name] for name, value in names.items() if found.get(name)}

    def _remember(
        self,
        keys: Mapping[str, Key],
        asked: Request,
        job: Job,
        given: Mapping[str, Given],
        array: np.ndarray,
        report: dict[str, Any],
    ) -> None:
        result = job.view.to_stack(array)
        for name, facts in report["structures"].items():
            if name in keys:
                value = asked.painted.structures[name]
                known = Known(
                    axis=job.view.axis,
                    given=job.given == value,
                    returned=result == value,
                    prompts=given[name].slices,
                    region=tuple(facts["region"]),
                    window=(job.window.level, job.window.width),
                    version=report["version"],
                    looks=(job.looks or {}).get(value),
                    exemplars=tuple(one for one in job.exemplars.get(value, ()) if one.kin is None),
                    plain=job.plain,
                    across=given[name].across,
                )
                self._memory.remember(keys[name], known)
                if facts["found"] > len(facts["painted"]):  # else most of it is the user's own
                    mask = job.view.to_stored(known.returned)
                    self._proposals.keep(keys[name], mask, asked.image.affine)

    def _undo(
        self, keys: Mapping[str, Key], painted: Painted, image: Volume, parameters: Parameters
    ) -> tuple[str, dict[str, Any]]:
        """The structures as they were before the last request."""
        array = painted.label.copy()
        undone = []
        for name, key in keys.items():
            before = self._memory.undo(key)
            if before is not None:
                before.put_back(array, painted.structures[name], image)
                undone.append(name)
        if not undone:
            raise PromptError(
                "There is nothing to undo: the server remembers no step for "
                f"{', '.join(painted.structures)}. Use the undo of your viewer."
            )
        array, names = _for_client(array, painted)
        path = write_result(array, image, parameters.reply)
        return path, {"label_names": names, "undone": undone}


def _config(kind: Kind, device: str | None, preset: str | None, speed: str) -> dict[str, Any]:
    """The options that clients show; clients take the first of a list."""
    config: dict[str, Any] = {
        "device": _first(device, device_list()),
        "preset": _first(preset, [AUTO, *PRESETS]),
        "speed": _first(speed, list(SPEEDS)),
        "axis": [AUTO, *AXES],
    }
    if kind.dimension == 3:
        config |= {"direction": list(DIRECTIONS), "first_slice": "", "last_slice": ""}
        config |= {"undo": False, "start_anew": False}
    return config | dict.fromkeys(CLEANING, False)


def _first(default: str | None, choices: list[str]) -> list[str]:
    """The choices with the server's default in front: clients take the first."""
    return list(dict.fromkeys([default or choices[0], *choices]))


def _keys(study: Study, parameters: Parameters, painted: Painted) -> dict[str, Key]:
    """Where each structure is remembered; nowhere without a client's id, or for an image that does not last."""
    image = study.lasting_id
    if image is None or parameters.client is None:
        return {}
    return {name: Key(image, parameters.client, name) for name in painted.structures}


def _check_values(painted: Painted, reply: ReplyFormat) -> None:
    """Refuse a result type that cannot hold the values, before the work is done."""
    largest = 1 if painted.alone else max(painted.names.values())
    if reply.dtype is not None and reply.dtype.kind in "iu" and largest > np.iinfo(reply.dtype).max:
        raise ConfigurationError(
            f"Value {largest} does not fit into result_dtype {reply.dtype}. Ask for uint16 or uint32, "
            "or give the structures smaller values."
        )


def _for_client(array: np.ndarray, painted: Painted) -> tuple[np.ndarray, dict[str, int]]:
    """The volume to send and its structures.

    3D Slicer takes value 1 of the reply into the selected segment and leaves its other segments alone, so a selected
    segment comes back by itself, as value 1.
    """
    if not painted.alone:
        return array, painted.names
    (name, value), *_ = painted.structures.items()
    return (array == value).astype(np.uint8), {name: 1}


def _reply(report: dict[str, Any], names: dict[str, int]) -> dict[str, Any]:
    facts = {key: report[key] for key in ("axis", "suggested_slice", "model", "version", "latencies")}
    structures = {n: facts_of | {"value": names[n]} for n, facts_of in report["structures"].items()}
    return {"label_names": names, **facts, "report": {**report, "structures": structures}}
