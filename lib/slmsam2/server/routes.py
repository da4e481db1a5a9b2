"""Our ``/infer`` and ``/activelearning`` in front of MONAI Label's: the same endpoints, off the event loop."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, HTTPException
from monailabel.endpoints import activelearning, infer
from starlette.responses import Response

from slmsam2.errors import SlmSam2Error
from slmsam2.server.answers import failure, refusal
from slmsam2.server.received import Received, receive, received

logger = logging.getLogger(__name__)

NAMES = INFER, SAMPLE = "slmsam2_infer", "slmsam2_sample"
WAITING = 32  # requests of a kind under way or waiting; further ones wait without a thread

Answer = Callable[[dict[str, Any]], Response | dict[str, Any] | None]


def install_routes(app: FastAPI) -> None:
    """Put our routes in front of MONAI Label's; doing it again changes nothing.

    MONAI Label's endpoints are ``async def`` around synchronous code: one inference blocks all other requests.
    """
    if any(getattr(route, "name", None) in NAMES for route in app.router.routes):
        return
    _put_in_front(app, INFER, infer.router, "/{model}", infer.api_run_inference, _infer)
    _put_in_front(app, SAMPLE, activelearning.router, "/{strategy}", activelearning.api_sample, _next_sample)


def _put_in_front(
    app: FastAPI, name: str, stock: APIRouter, path: str, endpoint: Callable[..., Any], answer: Answer
) -> None:
    """Let ``answer`` serve a path of a stock router, with the parameters and access checks of its endpoint."""
    # not in the schema: MONAI Label's own entry describes it
    app.router.add_api_route(
        f"{infer.settings.MONAI_LABEL_API_STR}{stock.prefix}{path}",
        _off_the_loop(endpoint, answer),
        methods=["POST"],
        name=name,
        include_in_schema=False,
    )
    app.router.routes.insert(0, app.router.routes.pop())


def _off_the_loop(stock: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    """An endpoint that answers in a thread, with the parameters (and so the access checks) of the stock one."""
    limiter = anyio.CapacityLimiter(WAITING)

    async def endpoint(**arguments: Any) -> Any:
        tasks = arguments.get("background_tasks")
        try:
            work = functools.partial(_with_plain_errors, answer, arguments)
            return await anyio.to_thread.run_sync(work, limiter=limiter)
        except HTTPException:
            if tasks is not None:
                await tasks()  # removes the uploads: without a response of its own nothing else does
            raise

    endpoint.__signature__ = inspect.signature(stock)  # type: ignore[attr-defined]
    return endpoint


def _with_plain_errors(answer: Answer, arguments: dict[str, Any]) -> Response | dict[str, Any] | None:
    """Answer in this thread; every error leaves as an HTTPException."""
    try:
        return answer(arguments)
    except HTTPException:
        raise
    except SlmSam2Error as error:
        raise refusal(error) from error
    except Exception as error:
        logger.exception("A request failed")
        raise failure() from error


def _infer(arguments: dict[str, Any]) -> Response | dict[str, Any] | None:
    del arguments["user"]  # the dependency has let this user in
    came: Received = receive(arguments)
    received.set(came)
    return infer.run_inference(**arguments)


def _next_sample(arguments: dict[str, Any]) -> dict[str, Any]:
    params, user = arguments["params"] or {}, arguments["user"].username
    params["client_id"] = (
        params.get("client_id") or user
    )  # the strategy and MONAI Label's record see the same one
    return activelearning.sample(arguments["strategy"], params, user)
