"""MONAI Label's way to the PACS for OHIF, in threads of its own and with the query of each request.

Its endpoint is ``async def`` around a blocking request: images come one after the other, and nothing else is
answered meanwhile. It also leaves out the query, and so answers a search for one study with all of them, and waits for
a PACS that hangs without a bound.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import types

import anyio.to_thread
import requests
import urllib3
from fastapi import APIRouter, HTTPException, Request
from monailabel.config import settings
from monailabel.endpoints import proxy as stock
from starlette.responses import Response

from slmsam2.server.datastore import pacs_client as archive
from slmsam2.server.routes.answers import archive_failed
from slmsam2.server.routes.front import new_router

logger = logging.getLogger(__name__)

SERVICES = ("wado", "qido", "stow")


def proxy_routes() -> APIRouter:
    """The same addresses as MONAI Label's."""
    _bound_waiting()
    router = new_router(stock.router.prefix)
    limiter = anyio.CapacityLimiter(16)  # threads: browsers open some six connections each

    @router.api_route("/dicom/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def slmsam2_proxy(request: Request, path: str) -> Response:
        await request.body()  # from here on it is at hand without waiting
        return await anyio.to_thread.run_sync(_forward, request, path, limiter=limiter)

    return router


def _forward(request: Request, path: str) -> Response:
    """Raises:
    HTTPException: 404, there is no PACS; 502, it cannot be reached; 504, it takes too long.
    """
    if not settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://")):
        raise HTTPException(
            404, "This server reads a folder of images: there is no image archive (PACS) to ask."
        )
    service, rest = _service(path)
    if request.url.query:
        rest = f"{rest}?{request.url.query}"
    try:
        return asyncio.run(stock.proxy_dicom(request, service, rest))
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        logger.warning("The PACS does not answer: %s", error)
        raise archive_failed(error) from error


def _bound_waiting() -> None:
    """Let MONAI Label's endpoint give up on a PACS that hangs."""
    get, post = (functools.partial(ask, timeout=archive.WAIT) for ask in (requests.get, requests.post))
    stock.requests = types.SimpleNamespace(get=get, post=post)


def _service(path: str) -> tuple[str, str]:
    """Which DICOMweb service a path is for, and the rest of it. OHIF asks for metadata as if they were a search."""
    first, _, rest = path.partition("/")
    if first not in SERVICES:
        return "", path
    return ("wado" if rest.endswith("metadata") else first), rest
