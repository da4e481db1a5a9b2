"""Our ``/infer``, ``/activelearning`` and ``/info`` in front of MONAI Label's: the same, off the event loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.endpoints import activelearning, infer, info
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance
from starlette.responses import Response

from slmsam2.errors import PromptError
from slmsam2.server.datastore.notes import notes
from slmsam2.server.requests.parameters import text_of
from slmsam2.server.requests.received import Received, receive, received
from slmsam2.server.routes.front import (
    WAITING,
    check_annotator,
    off_the_loop,
    put_in_front,
    router_of_checked,
)
from slmsam2.server.routes.json_objects import check_object, parse_object
from slmsam2.server.routes.monitoring import monitor
from slmsam2.server.routes.uploads import as_file
from slmsam2.server.running.line import in_line, line

INFER, SAMPLE, INFO = "slmsam2_infer", "slmsam2_sample", "slmsam2_info"


def install_routes(app: FastAPI, most_voxels: int) -> None:
    """Put our routes in front of MONAI Label's; doing it again changes nothing.

    Args:
        most_voxels: bound on images and labels that are sent.

    MONAI Label's endpoints are ``async def`` around synchronous code: one inference blocks all other requests,
    and so does a PACS that hangs, which the description of the app asks how many images it has.
    """
    inferring = off_the_loop(
        infer.api_run_inference, partial(_infer, most_voxels), waiting=max(WAITING, line.most + 1)
    )
    sampling = off_the_loop(activelearning.api_sample, _next_sample)
    router = router_of_checked("")
    for name, method, path, endpoint in (
        (INFER, "POST", f"{infer.router.prefix}/{{model}}", in_line(inferring, monitor.answered)),
        (SAMPLE, "POST", f"{activelearning.router.prefix}/{{strategy}}", sampling),
        (INFO, "GET", f"{info.router.prefix}/", off_the_loop(info.api_app_info, _info)),
    ):  # not in the schema: MONAI Label's own entries describe them
        router.add_api_route(path, endpoint, methods=[method], name=name, include_in_schema=False)
    put_in_front(app, router)


def _info(arguments: dict[str, Any]) -> dict[str, Any]:
    """MONAI Label's, and under ``annotator`` who asks; None where nobody signs in."""
    signed_in = arguments["user"].username if settings.MONAI_LABEL_AUTH_ENABLE else None
    return {**info.app_info(), "annotator": signed_in}


def _infer(most_voxels: int, arguments: dict[str, Any]) -> Response | dict[str, Any] | None:
    user = arguments.pop("user")
    if parse_object("params", arguments["params"]).get("save_label"):
        check_annotator(user, "Saving the result as a label (save_label)")
    if arguments["output"] == infer.ResultType.dicom_seg:
        _check_seg(arguments)
    came: Received = receive(arguments)
    received.set(replace(came, annotator=_annotator(json.loads(arguments["params"]), user)))
    with ExitStack() as uploads:
        _as_files(arguments, uploads, most_voxels)
        answer = infer.run_inference(**arguments)
    # a server that is stopped waits for what is done behind its answers
    arguments["background_tasks"].add_task(notes.finish)
    return answer


def _as_files(arguments: dict[str, Any], uploads: ExitStack, most_voxels: int) -> None:
    """Put files, which last as long as ``uploads``, in the place of what was uploaded.

    MONAI Label's own are left behind when the disk is full. It takes paths from ``params``; those of clients are out.
    """
    params = parse_object("params", arguments["params"])
    for field, name in (("file", "image"), ("label", "label")):
        upload = arguments[field]
        if upload is not None:
            ending = "".join(Path(upload.filename).suffixes)
            params[name] = uploads.enter_context(as_file(upload, ending, most_voxels))
            arguments[field] = None
    arguments["image"] = arguments["image"] or params.get("image", "")
    arguments["params"] = json.dumps(params)


def _check_seg(arguments: dict[str, Any]) -> None:
    """Before the inference: MONAI Label finds out after it, and answers with 500.

    Raises:
        PromptError: DICOM SEG cannot be made for this request.
    """
    named = parse_object("params", arguments["params"]).get("label_info")
    if not isinstance(app_instance().datastore(), DICOMWebDatastore):
        raise PromptError("DICOM SEG is made for series of a PACS only. Ask for the output 'image' or 'all'.")
    if not arguments["image"] or not named:
        raise PromptError("For DICOM SEG send an image id, and label_info with a name for each structure.")


def _next_sample(arguments: dict[str, Any]) -> dict[str, Any]:
    params, user = check_object("params", arguments["params"] or {}), arguments["user"]
    # the strategy and MONAI Label's record see the same one
    params["client_id"] = _annotator(params, user)
    params["strategy"] = arguments["strategy"]
    return activelearning.sample(arguments["strategy"], params, user.username)


def _annotator(params: Mapping[str, Any], user: User) -> str:
    """Who asks: who signed in; else the name that the client gives itself; else MONAI Label's name for everybody."""
    named = None if settings.MONAI_LABEL_AUTH_ENABLE else text_of(params, "client_id")
    return named or user.username
