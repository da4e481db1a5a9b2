"""What no request may have, whatever route it is for: a path that leads elsewhere,
more than the server takes, another server's name, or an order from a page of somewhere else."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slmsam2.server.routes.names import leads_away

READING = ("GET", "HEAD", "OPTIONS")


class Door:
    """Refuses a request before any route sees it.

    Args:
        app: what is behind the door.
        most_bytes: bound on the body of a request.
        origins: of other pages that may change something.
        hosts: names by which this server is reached.
    """

    def __init__(
        self, app: ASGIApp, most_bytes: int, origins: Collection[str], hosts: Collection[str]
    ) -> None:
        self.app, self._most_bytes, self._origins, self._hosts = app, most_bytes, origins, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is None:
            await self.app(scope, self._counted(receive), send)
        else:
            await JSONResponse({"detail": refused.detail}, refused.status_code)(scope, receive, send)

    def _refusal(self, scope: Scope) -> HTTPException | None:
        raw = scope.get("raw_path") or b""
        if leads_away(raw.decode("latin-1")) or leads_away(scope["path"]):
            return HTTPException(
                404, "There is nothing at this address: it has '..', a backslash or the like in it."
            )
        headers = Request(scope).headers
        if not _is_meant(headers.get("host", ""), self._hosts):
            return HTTPException(
                421,
                f"This server is not known as {headers['host'][:100]}. If that is its name, start it with the name in "
                "its setting hosts.",
            )
        if scope["method"] not in READING and not _from_here(headers, self._origins):
            return HTTPException(
                403,
                f"A page of {headers['origin'][:100]} may not change anything here. To allow it, start the server with "
                "this address in its setting origins.",
            )
        length = headers.get("content-length", "0")
        too_large = length.isdecimal() and int(length) > self._most_bytes
        return self._too_large() if too_large else None

    def _counted(self, receive: Receive) -> Receive:
        """Counts what really comes: a client need not say it before."""
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HTTPException:
        return HTTPException(
            413,
            f"This is more than the {self._most_bytes / 1e6:.0f} MB that this server takes at a time. Send a smaller "
            "file, or raise the server's setting most_megabytes.",
        )


def _is_meant(host: str, hosts: Collection[str]) -> bool:
    """Whether a request was meant for this server: for an address, a name without a dot, or one of ``hosts``.

    Any website may let its own name point to 127.0.0.1, or to a machine in the annotator's network. Its pages then
    count as this server's, for a browser and for `_from_here`: all but the name in the request is in order.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:  # "[::", which is no address
        return False
    return "." not in name or name in hosts or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _from_here(headers: Headers, origins: Collection[str]) -> bool:
    """Whether a request comes from no browser, from a page of this server, or from one that may ask.

    Browsers send the page's origin with all that changes something; without this any website could send an annotator's
    browser here.
    """
    origin = headers.get("origin")
    return origin is None or origin in origins or origin.partition("://")[2] == headers.get("host")


def put_up_door(
    server: FastAPI, most_bytes: int, origins: Collection[str] = (), hosts: Collection[str] = ()
) -> None:
    """Put a door before all routes of a server, also of one that runs already; doing it again replaces it.

    MONAI Label lets the pages of all servers read its answers in a browser. Its own setting for that,
    MONAI_LABEL_CORS_ORIGINS, keeps version 0.8.5 from starting with the pydantic of today.

    Args:
        most_bytes: bound on a request's body.
        origins: of other pages that may read and change ("https://viewer.example.org").
        hosts: names with a dot by which the server is reached ("label.example.org"), in small letters.
    """
    server.user_middleware = [each for each in server.user_middleware if each.cls is not CORSMiddleware]
    if origins:
        readers = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        )
        server.user_middleware.insert(0, readers)
    server.middleware_stack = Door(server.build_middleware_stack(), most_bytes, origins, hosts)
