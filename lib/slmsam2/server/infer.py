"""The ``slmsam2`` task: painted slices in, the labelled volume out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list

from slmsam2 import propagate_volume
from slmsam2.errors import ConfigurationError
from slmsam2.server.devices import resolve_device
from slmsam2.server.models import ModelStore
from slmsam2.server.painted import Painted, read_painted
from slmsam2.server.parameters import AUTO, AXES, DIRECTIONS, Parameters, ReplyFormat, parse_parameters
from slmsam2.server.results import write_result
from slmsam2.server.runs import Run, runs
from slmsam2.server.study import Study
from slmsam2.volume import PRESETS, Volume, read_volume

logger = logging.getLogger(__name__)

STUDY = "study"  # where the app leaves the Study in a request


class SlmSam2Infer(InferTask):
    """Propagates painted slices through the volume.

    Its type is "scribbles": the only one for which 3D Slicer sends what was painted. It announces no labels,
    or Slicer would run it by itself on every new image.

    Args:
        models: where the network comes from.
        device: for requests that name none; None: the best there is.
        preset: intensity preset for requests that ask for no window.
    """

    def __init__(self, models: ModelStore, device: str | None = None, preset: str | None = None) -> None:
        super().__init__(
            type=InferType.SCRIBBLES,
            labels=[],
            dimension=3,
            description="SLM-SAM 2: paint one slice of a structure, get the volume",
            config={
                "device": _first(device, device_list()),
                "preset": _first(preset, [AUTO, *PRESETS]),
                "direction": list(DIRECTIONS),
                "axis": [AUTO, *AXES],
            },
        )
        self._models = models
        self._device = device
        self._preset = preset

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
        begin = time.perf_counter()
        parameters = parse_parameters(request, self._preset)
        study: Study = request[STUDY]
        image = read_volume(study.image)
        painted = read_painted(study, image, parameters)
        _check_values(painted, parameters.reply)
        read = time.perf_counter()
        device = resolve_device(parameters.device or self._device)
        run = runs.find(parameters.request_id) or Run()
        with self._models.busy(device):
            waited = time.perf_counter()
            run.check()
            array, report = self._propagate(image, painted, parameters, device, run)
        done = time.perf_counter()
        array, names = _merge(array, painted)
        path = write_result(array, image, parameters.reply)
        report["latencies"] |= {
            "read": round(read - begin, 3),
            "wait": round(waited - read, 3),
            "write": round(time.perf_counter() - done, 3),
            "total": round(time.perf_counter() - begin, 3),
        }
        return path, _reply(report, names)

    def _propagate(
        self, image: Volume, painted: Painted, parameters: Parameters, device: str, run: Run
    ) -> tuple[np.ndarray, dict[str, Any]]:
        window = parameters.window
        return propagate_volume(
            image,
            painted.label,
            model=self._models.get(device),
            axis=parameters.axis,
            structures=list(painted.structures),
            label_names=painted.names,
            prompt_slices=parameters.prompt_slices,
            window=None if window is None else [window.level, window.width],
            direction=parameters.direction,
            first_slice=parameters.first_slice,
            last_slice=parameters.last_slice,
            device=device,
            progress=run.progress,
        )


def _first(default: str | None, choices: list[str]) -> list[str]:
    """The choices with the server's default in front: clients take the first."""
    return list(dict.fromkeys([default or choices[0], *choices]))


def _check_values(painted: Painted, reply: ReplyFormat) -> None:
    """Refuse a result type that cannot hold the values, before the work is done."""
    largest = 1 if painted.alone else max(painted.names.values())
    if reply.dtype is not None and reply.dtype.kind in "iu" and largest > np.iinfo(reply.dtype).max:
        raise ConfigurationError(
            f"Value {largest} does not fit into result_dtype {reply.dtype}. Ask for uint16 or uint32, "
            "or give the structures smaller values."
        )


def _merge(array: np.ndarray, painted: Painted) -> tuple[np.ndarray, dict[str, int]]:
    """The volume to send and its structures.

    What is painted as another structure stays that. 3D Slicer takes value 1 of the reply into the selected
    segment and leaves its other segments alone, so a selected segment comes back by itself, as value 1.
    """
    array = np.where(painted.kept, painted.label, array)
    if not painted.alone:
        return array, painted.names
    (name, value), *_ = painted.structures.items()
    return (array == value).astype(np.uint8), {name: 1}


def _reply(report: dict[str, Any], names: dict[str, int]) -> dict[str, Any]:
    facts = {key: report[key] for key in ("axis", "suggested_slice", "model", "version", "latencies")}
    structures = {n: facts_of | {"value": names[n]} for n, facts_of in report["structures"].items()}
    return {"label_names": names, **facts, "report": {**report, "structures": structures}}
