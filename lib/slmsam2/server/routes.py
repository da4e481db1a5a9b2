"""Our ``/infer`` and ``/activelearning`` in front of MONAI Label's: the same endpoints, off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from monailabel.endpoints import activelearning, infer
from starlette.responses import Response

from slmsam2.server.front import WAITING, off_the_loop
from slmsam2.server.line import in_line, line
from slmsam2.server.monitoring import monitor
from slmsam2.server.received import Received, receive, received

NAMES = INFER, SAMPLE = "slmsam2_infer", "slmsam2_sample"


def install_routes(app: FastAPI) -> None:
    """Put our routes in front of MONAI Label's; doing it again changes nothing.

    MONAI Label's endpoints are ``async def`` around synchronous code: one inference blocks all other requests.
    """
    if any(getattr(route, "name", None) in NAMES for route in app.router.routes):
        return
    inferring = off_the_loop(infer.api_run_inference, _infer, waiting=max(WAITING, line.most + 1))
    _put_in_front(app, INFER, infer.router, "/{model}", in_line(inferring, monitor.answered))
    sampling = off_the_loop(activelearning.api_sample, _next_sample)
    _put_in_front(app, SAMPLE, activelearning.router, "/{strategy}", sampling)


def _put_in_front(app: FastAPI, name: str, stock: APIRouter, path: str, endpoint: Callable[..., Any]) -> None:
    """Let ``endpoint`` serve a path of a stock router."""
    # not in the schema: MONAI Label's own entry describes it
    app.router.add_api_route(
        f"{infer.settings.MONAI_LABEL_API_STR}{stock.prefix}{path}",
        endpoint,
        methods=["POST"],
        name=name,
        include_in_schema=False,
    )
    app.router.routes.insert(0, app.router.routes.pop())


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
