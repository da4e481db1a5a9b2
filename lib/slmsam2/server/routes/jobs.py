"""MONAI Label's endpoints for trainings, batch inference and scoring, off the event loop, a sentence for each error.

Its own answer what is not there with 500, block the server while a job runs that was asked for with ``run_sync``, and
lose a job whose parameters cannot be handed to a process.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import psutil
import torch
from fastapi import APIRouter, HTTPException
from monailabel.endpoints import batch_infer, scoring, train
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance

from slmsam2.errors import PromptError
from slmsam2.server.learning.train import check_settings
from slmsam2.server.routes.front import off_the_loop, router_of_checked
from slmsam2.server.routes.job_list import waiting_jobs
from slmsam2.server.routes.json_objects import check_object
from slmsam2.server.routes.names import check_tag

UNDER_WAY = "Such a job is under way. Wait for its end, or stop it."
MOST_WAITING = 8  # jobs of a kind
LONGEST = 60_000  # characters of a job's parameters: they are one argument of a process
IMAGES = [kind.value for kind in batch_infer.BatchInferImageType]
TYPES: dict[str, type] = {  # of what MONAI Label reads without a check
    "device": str,
    "gpus": str,
    "multi_gpu": bool,
    "max_workers": int,
    "max_batch_size": int,
    "label_tag": str,
    "logging": str,
    "labels": list,
}
Work = Callable[..., Any]


def job_routes() -> APIRouter:
    """The same addresses as MONAI Label's."""
    router = router_of_checked("")
    for kind, method, path, own, work in (
        ("train", "GET", "/", train.api_status, train.status),
        ("train", "POST", "/", train.api_run, _run_all("train", train.run)),
        ("train", "POST", "/{model}", train.api_run_model, _run_one("train", "model", train.run_model)),
        ("train", "DELETE", "/", train.api_stop, train.stop),
        ("batch", "GET", "/infer", batch_infer.api_status, batch_infer.status),
        ("batch", "POST", "/infer/{model}", batch_infer.api_run, _run_one("batch_infer", "model", batch_infer.run)),
        ("batch", "DELETE", "/infer", batch_infer.api_stop, batch_infer.stop),
        ("scoring", "GET", "/", scoring.api_status, scoring.status),
        ("scoring", "POST", "/", scoring.api_run, _run_all("scoring", scoring.run)),
        ("scoring", "POST", "/{method}", scoring.api_run_method, _run_one("scoring", "method", scoring.run_method)),
        ("scoring", "DELETE", "/", scoring.api_stop, scoring.stop),
    ):  # fmt: skip
        name = f"slmsam2_{method}/{kind}{path}"
        router.add_api_route(
            f"/{kind}{path}", _endpoint(own, work), methods=[method], name=name, include_in_schema=False
        )
    return router


def _endpoint(own: Work, work: Work) -> Work:
    """An endpoint with the parameters (and so the access checks) of MONAI Label's ``own``, that does ``work``."""

    def answer(arguments: dict[str, Any]) -> Any:
        del arguments["user"]  # the dependency has let this user in
        try:
            return _readable(work(**arguments))
        except (psutil.NoSuchProcess, LookupError, StopIteration) as error:
            raise HTTPException(404, "No such job is under way: it has just ended.") from error
        except MONAILabelException as error:
            raise PromptError(f"This job cannot be done: {error.msg}.") from error

    return off_the_loop(own, answer)


def _readable(answer: Any) -> Any:
    """Without the lists that a running job goes on writing."""
    if isinstance(answer, list):
        return [_readable(each) for each in answer]
    if isinstance(answer, dict) and "details" in answer:
        return {**answer, "details": list(answer["details"])}
    return answer


def _run_all(kind: str, stock: Work) -> Work:
    def run(params: dict[str, Any] | None, run_sync: bool | None) -> Any:
        given = {name: _checked(kind, value) for name, value in check_object("params", params or {}).items()}
        return stock(given, run_sync)

    return run


def _run_one(kind: str, key: str, stock: Work) -> Work:
    """What runs a job of a kind.

    Args:
        kind: MONAI Label's name for it.
        key: what a task is called in requests of this kind, "model" or "method".
        stock: MONAI Label's function.
    """

    def run(params: dict[str, Any] | None, **arguments: Any) -> Any:
        _check_exists(kind, key, arguments[key])
        waiting = len(waiting_jobs(kind))
        if waiting and not arguments.get("enqueue"):  # MONAI Label looks at those with a process only
            raise HTTPException(429, UNDER_WAY)
        if waiting >= MOST_WAITING:
            raise HTTPException(
                429, f"{MOST_WAITING} jobs of this kind wait already. Ask again when some are done."
            )
        try:
            checked = _checked(kind, params or {}) | {key: arguments[key]}
            if kind == "batch_infer" and not torch.cuda.is_available():
                checked["multi_gpu"] = False  # its default fails where there is no GPU
            return stock(params=checked, **arguments)
        except HTTPException as error:
            if error.status_code == 429:  # its own sentence is a log line
                raise HTTPException(429, UNDER_WAY) from error
            raise

    run.__signature__ = inspect.signature(stock)  # type: ignore[attr-defined]
    return run


def _check_exists(kind: str, key: str, name: str) -> None:
    field = {"train": "trainers", "batch_infer": "models", "scoring": "scoring"}[kind]
    known = app_instance().info()[field]
    if name not in known:
        raise HTTPException(404, f"There is no {key} {name!r} for this. This server has: {', '.join(known)}.")


def _checked(kind: str, params: Any) -> dict[str, Any]:
    """The parameters of a job of this kind, without those that are None.

    Raises:
        PromptError, ConfigurationError: with a sentence.
    """
    given = check_object("params", params)
    if len(json.dumps(given)) > LONGEST:
        raise PromptError(f"The params of a job may have {LONGEST} characters at most. Send fewer.")
    if isinstance(given.get("device"), list):  # as it is offered
        given = given | {"device": (given["device"] or [None])[0]}
    given = {name: value for name, value in given.items() if value is not None}
    for name in TYPES.keys() & given.keys():
        _check_type(name, given[name])
    if kind == "train":
        check_settings(given)
    if given.get("label_tag"):
        check_tag(given["label_tag"])
    images = given.get("images", "all")
    if images not in IMAGES and not _are_texts(images):
        raise PromptError(f"images must be one of {', '.join(IMAGES)}, or a list of ids, not {images!r}.")
    return given


def _check_type(name: str, value: Any) -> None:
    wanted: Any = TYPES[name]
    fits = (
        type(value) is wanted
        and (wanted is not int or value >= 0)
        and (wanted is not list or _are_texts(value))
    )
    if not fits:
        kinds = {str: "a text", bool: "true or false", int: "a number from 0 on", list: "a list of texts"}
        raise PromptError(f"{name} must be {kinds[wanted]}, not {value!r}.")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
