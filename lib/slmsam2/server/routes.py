"""Our ``/infer`` in front of MONAI Label's: the same endpoint, off the event loop."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, HTTPException
from monailabel.endpoints import infer as stock
from starlette.responses import Response

from slmsam2.errors import SlmSam2Error
from slmsam2.server.answers import failure, refusal
from slmsam2.server.received import Received, receive, received

logger = logging.getLogger(__name__)

NAME = "slmsam2_infer"
WAITING = 32  # inferences under way or waiting for a device; further ones wait without a thread


def install_routes(app: FastAPI) -> None:
    """Put our routes in front of MONAI Label's; doing it again changes nothing.

    MONAI Label's endpoint is ``async def`` around synchronous code: one inference blocks all other requests.
    """
    router = app.router
    if any(getattr(route, "name", None) == NAME for route in router.routes):
        return
    path = f"{stock.settings.MONAI_LABEL_API_STR}{stock.router.prefix}/{{model}}"
    # not in the schema: MONAI Label's own entry describes it
    router.add_api_route(path, _infer_endpoint(), methods=["POST"], name=NAME, include_in_schema=False)
    router.routes.insert(0, router.routes.pop())


def _infer_endpoint() -> Any:
    """An endpoint with the parameters (and so the access checks) of MONAI Label's."""
    limiter = anyio.CapacityLimiter(WAITING)

    async def infer(**arguments: Any) -> Any:
        del arguments["user"]  # the dependency has let this user in
        tasks = arguments["background_tasks"]
        try:
            return await anyio.to_thread.run_sync(functools.partial(_answer, arguments), limiter=limiter)
        except HTTPException:
            await tasks()  # removes the uploads: without a response of its own nothing else does
            raise

    infer.__signature__ = inspect.signature(stock.api_run_inference)  # type: ignore[attr-defined]
    return infer


def _answer(arguments: dict[str, Any]) -> Response | dict[str, Any]:
    """Run MONAI Label's inference in this thread; every error leaves as an HTTPException."""
    try:
        came: Received = receive(arguments)
        received.set(came)
        return stock.run_inference(**arguments)
    except HTTPException:
        raise
    except SlmSam2Error as error:
        raise refusal(error) from error
    except Exception as error:
        logger.exception("Inference failed")
        raise failure() from error
