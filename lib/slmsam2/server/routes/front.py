"""Our routes go in front of MONAI Label's: the first route that fits a path answers."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import anyio.to_thread
import requests
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User, get_current_user
from starlette.responses import Response

from slmsam2.errors import SlmSam2Error
from slmsam2.server.routes.answers import archive_failed, failure, refusal
from slmsam2.server.running.shortage import (
    is_full_disk,
    is_shortage,
    refused_for_full_disk,
    refused_for_shortage,
)

logger = logging.getLogger(__name__)

WAITING = 32  # requests of a kind under way or waiting; further ones wait without a thread

Answer = Callable[[dict[str, Any]], Response | dict[str, Any] | None]


def new_router(prefix: str) -> APIRouter:
    """A router under MONAI Label's own prefix, for those who may use the server; what is posted there is stored, which
    is for annotators."""
    return APIRouter(prefix=settings.MONAI_LABEL_API_STR + prefix, dependencies=[Depends(_may_use)])


async def _may_use(request: Request, user: Annotated[User, Depends(get_current_user)]) -> None:
    posts = request.method == "POST"
    role = settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR if posts else settings.MONAI_LABEL_AUTH_ROLE_USER
    await RBAC(role)(user)


def check_annotator(user: User, what: str) -> None:
    """See to it that a user may save labels; without sign-in everybody has all roles.

    Args:
        what: is wanted, as a sentence begins.

    Raises:
        HTTPException: 403, the role is missing.
    """
    role = settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR
    if role not in user.roles:
        raise HTTPException(403, f"{what} needs the role {role}. Ask your administrator for it.")


def router_of_checked(prefix: str) -> APIRouter:
    """A router for endpoints that check by themselves who may use them: roles of MONAI Label do not include others."""
    return APIRouter(prefix=settings.MONAI_LABEL_API_STR + prefix)


def put_in_front(app: FastAPI, router: APIRouter) -> None:
    """Let the router's routes answer first; doing it again changes nothing."""
    there = {getattr(route, "name", None) for route in app.router.routes}
    new = [route for route in router.routes if getattr(route, "name", None) not in there]
    app.router.routes[:0] = new


def off_the_loop(stock: Callable[..., Any], answer: Answer, waiting: int = WAITING) -> Callable[..., Any]:
    """An endpoint that answers in a thread, with the parameters (and so the access checks) of the stock one."""
    limiter = anyio.CapacityLimiter(waiting)

    async def endpoint(**arguments: Any) -> Any:
        tasks = arguments.get("background_tasks")
        try:
            work = functools.partial(_with_plain_errors, answer, arguments)
            return await anyio.to_thread.run_sync(work, limiter=limiter)
        except HTTPException:
            if tasks is not None:
                await tasks()  # removes the result: without a response of its own nothing else does
            raise

    endpoint.__signature__ = inspect.signature(stock, eval_str=True)  # type: ignore[attr-defined]
    return endpoint


def _with_plain_errors(answer: Answer, arguments: dict[str, Any]) -> Response | dict[str, Any] | None:
    """Answer in this thread; every error leaves as an HTTPException."""
    try:
        return answer(arguments)
    except HTTPException:
        raise
    except SlmSam2Error as error:
        raise refusal(error) from error
    except requests.RequestException as error:
        logger.warning("The PACS failed: %s", error)
        raise archive_failed(error) from error
    except Exception as error:
        if is_shortage(error):
            logger.warning("Memory ran short: %s", error)
            raise refusal(refused_for_shortage()) from error
        if is_full_disk(error):
            logger.warning("No space: %s", error)
            raise refusal(refused_for_full_disk()) from error
        logger.exception("A request failed")
        raise failure() from error
