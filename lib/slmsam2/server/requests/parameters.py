"""What a client asks for in ``params``: read, checked, and with a sentence for each mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np

from slmsam2.engine import Cleaning
from slmsam2.engine.numbering import Direction
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.modeling import QUALITY, SPEEDS
from slmsam2.server.routes.names import check_tag
from slmsam2.volume import Window, parse_window

AUTO = "auto"
AXES = ("0", "1", "2")
DIRECTIONS = ("both", "forward", "backward")
CLEANING = tuple(field.name for field in fields(Cleaning))
EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha")
PromptSlices = list[int] | dict[str, list[int] | dict[int, list[int]]]
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32")


@dataclass(frozen=True)
class ReplyFormat:
    """How the result is to be written.

    Attributes:
        extension: file ending with its dot.
        dtype: on disk; None: the smallest unsigned one that holds the values.
        compress: whether formats that can be either are compressed.
    """

    extension: str
    dtype: np.dtype | None
    compress: bool


@dataclass(frozen=True)
class Parameters:
    """What to propagate, and how. Slice numbers count along the slice axis as stored, from 0.

    Attributes:
        structures: names to propagate; None: all that are painted.
        selected: the segment that is selected in 3D Slicer.
        label_info: the client's own list of structures, unchecked.
        prompt_slices: painted slices to use; None: all. A list for all structures; or per structure's name a list, or
            one for each axis along which slices of it were painted.
        axis: stored array axis of the slices; None: found out.
        window: intensity window; None: chosen from the image.
        speed: how accurate and how fast, see :mod:`slmsam2.modeling.speed`.
        direction: "both", "forward" (towards higher slice numbers) or "backward".
        first_slice, last_slice: where propagation ends, both included; None: the volume's own ends.
        cleaning: post-processing.
        undo: take back the last request instead.
        start_anew: forget what was done on the structures before.
        client: whose request it is; None: unknown, nothing is remembered.
        device: display or torch name; None: the server's own choice.
        most_seconds: that the run may take, waiting included; infinite unless asked for.
        request_id: the client's own name for this run, to follow and to cancel it.
        reply: how the result is to be written.
    """

    structures: list[str] | None
    selected: str | None
    label_info: list[Any] | None
    prompt_slices: PromptSlices | None
    axis: int | None
    window: Window | None
    speed: str
    direction: Direction
    first_slice: int | None
    last_slice: int | None
    cleaning: Cleaning
    undo: bool
    start_anew: bool
    client: str | None
    device: str | None
    most_seconds: float
    request_id: str | None
    reply: ReplyFormat


def parse_parameters(
    request: Mapping[str, Any], preset: str | None = None, speed: str = QUALITY
) -> Parameters:
    """Read the parameters of an inference request; what a task does not know is ignored.

    Choices (``axis``, ``preset``, ``speed``, ``direction``, ``device``) may come as the list the task's config shows:
    then its first entry counts.

    Args:
        request: MONAI Label's request.
        preset: intensity preset for requests that ask for no window.
        speed: for requests that do not say.

    Raises:
        PromptError: slices, structures, axis, direction or an option that cannot be used.
        ConfigurationError: window, preset or result settings that are not allowed.
    """
    first, last = (_slice(request, name) for name in ("first_slice", "last_slice"))
    if first is not None and last is not None and first > last:
        raise PromptError(f"first_slice ({first}) lies behind last_slice ({last}). Swap them.")
    axis = _choice(request, "axis", (AUTO, *AXES), AUTO)
    return Parameters(
        structures=_names(request, "structures"),
        selected=text_of(request, "selected_label_name", verbatim=True),
        label_info=_label_info(request),
        prompt_slices=_prompt_slices(request),
        axis=None if axis == AUTO else int(axis),
        window=_window(request, preset),
        speed=_choice(request, "speed", SPEEDS, speed),
        direction=cast(Direction, _choice(request, "direction", DIRECTIONS, "both")),
        first_slice=first,
        last_slice=last,
        cleaning=Cleaning(**{name: _flag(request, name) for name in CLEANING}),
        undo=_flag(request, "undo"),
        start_anew=_flag(request, "start_anew"),
        client=text_of(request, "client_id"),
        device=text_of(request, "device"),
        most_seconds=_seconds(request, "most_seconds"),
        request_id=request_id(request),
        reply=_reply_format(request),
    )


def request_id(request: Mapping[str, Any]) -> str | None:
    """The client's own name for its request; None: it gives none."""
    return text_of(request, "request_id")


def label_tag(request: Mapping[str, Any]) -> str | None:
    """Which saved label to start from: ``tag``, else ``label_tag`` unless that is where to save the result.

    Raises:
        PromptError: a tag that is no plain name.
    """
    tags = [text_of(request, "tag"), text_of(request, "label_tag")]
    for tag in tags:
        if tag is not None:
            check_tag(tag)
    return tags[0] if tags[0] or request.get("save_label") else tags[1]


def _value(request: Mapping[str, Any], name: str) -> Any:
    """The value of a setting; None for one that is absent or empty."""
    value = request.get(name)
    return None if isinstance(value, str) and not value.strip() else value


def text_of(request: Mapping[str, Any], name: str, *, verbatim: bool = False) -> str | None:
    """A text of a request, or the first of a list of them; None: absent or empty.

    Args:
        verbatim: whether blanks at its ends belong to it, as to a structure's name, which must be that of a list.

    Raises:
        PromptError: it is something else.
    """
    value = _value(request, name)
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    if value is not None and not isinstance(value, str):
        raise PromptError(f"{name} must be a text, not {value!r}.")
    if value and not verbatim:
        value = value.strip()
    return value or None


def _choice(request: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = _value(request, name)
    if isinstance(value, (list, tuple)):
        value = value[0] if value else None
    chosen = default if value is None else str(value).strip().lower()
    if chosen not in allowed or isinstance(value, bool):
        raise PromptError(f"{name} {value!r} is not known. Choose one of: {', '.join(allowed)}.")
    return chosen


def _flag(request: Mapping[str, Any], name: str) -> bool:
    value = _value(request, name)
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    if value not in (None, True, False):
        raise PromptError(f"{name} must be true or false, not {value!r}.")
    return bool(value)


def _seconds(request: Mapping[str, Any], name: str) -> float:
    value = _value(request, name)
    if value is None:
        return math.inf
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}(\.\d*)?", str(value)) or float(value) <= 0:
        raise PromptError(f"{name} must be a number of seconds above 0, not {value!r}.")
    return float(value)


def _slice(request: Mapping[str, Any], name: str) -> int | None:
    value = _value(request, name)
    return None if value is None else _slice_number(value, name)


def _prompt_slices(request: Mapping[str, Any]) -> PromptSlices | None:
    value = _value(request, "prompt_slices")
    if not isinstance(value, Mapping):
        return _slices(value, "prompt_slices")
    return {str(name): _slices_of_one(listed) for name, listed in value.items()} or None


def _slices_of_one(value: Any) -> list[int] | dict[int, list[int]]:
    """The slices of one structure: a list, or one for each axis."""
    if not isinstance(value, Mapping):
        return _slices(value, "prompt_slices") or []
    unknown = sorted(str(axis) for axis in value if str(axis) not in AXES)
    if unknown:
        raise PromptError(f"prompt_slices names an axis {unknown[0]!r}. Choose one of: {', '.join(AXES)}.")
    return {int(axis): _slices(listed, "prompt_slices") or [] for axis, listed in value.items()}


def _slices(value: Any, name: str) -> list[int] | None:
    if value is None or value == []:
        return None
    if isinstance(value, str):
        value = value.split(",")
    listed = value if isinstance(value, (list, tuple)) else [value]
    return sorted({_slice_number(v, name) for v in listed})


def _slice_number(value: Any, name: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}(\.0{1,9})?", text):
        raise PromptError(
            f"{name} must hold slice numbers (0, 1, 2, ... along the slice axis), not {value!r}."
        )
    return int(float(text))


def _names(request: Mapping[str, Any], name: str) -> list[str] | None:
    value = _value(request, name)
    if value is None or value == []:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(v, str) and v.strip() for v in listed):
        raise PromptError(f"{name} must be a list of structure names, not {value!r}.")
    return list(dict.fromkeys(listed))


def _label_info(request: Mapping[str, Any]) -> list[Any] | None:
    value = _value(request, "label_info")
    if value is not None and not isinstance(value, list):
        raise PromptError("label_info must be a list of {name, id}, one for each structure.")
    return value


def _window(request: Mapping[str, Any], default: str | None) -> Window | None:
    preset = text_of(request, "preset")
    window = _value(request, "window")
    if window is not None and not isinstance(window, (str, list, tuple)):
        raise ConfigurationError(
            f"The window {window!r} is not understood: give level/width, such as 40/400."
        )
    return parse_window(window, default if preset is None else preset)


def _reply_format(request: Mapping[str, Any]) -> ReplyFormat:
    extension = (text_of(request, "result_extension") or EXTENSIONS[0]).lower()
    extension = extension if extension.startswith(".") else f".{extension}"
    if extension not in EXTENSIONS:
        raise ConfigurationError(
            f"result_extension {extension!r} is not known. Choose one of: {', '.join(EXTENSIONS)}."
        )
    dtype = text_of(request, "result_dtype")
    if dtype is not None and dtype not in DTYPES:
        raise ConfigurationError(f"result_dtype {dtype!r} is not known. Choose one of: {', '.join(DTYPES)}.")
    return ReplyFormat(extension, np.dtype(dtype) if dtype else None, _flag(request, "result_compress"))
