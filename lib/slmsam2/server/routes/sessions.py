"""MONAI Label's session endpoints, off the event loop, with archives that are unpacked safely."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, UploadFile
from monailabel.endpoints import session as stock

from slmsam2.errors import PromptError
from slmsam2.server.routes.answers import unknown_image
from slmsam2.server.routes.front import off_the_loop, router_of_checked
from slmsam2.server.routes.names import base_of, check_id, is_session_id
from slmsam2.server.routes.unpacking import unpack


def session_routes(most_bytes: int) -> APIRouter:
    """Make, look at and end a session, at MONAI Label's own addresses.

    Args:
        most_bytes: bound on what an archive unpacks to.
    """

    def create(arguments: dict[str, Any]) -> Any:
        return _create(arguments["files"], arguments["uncompress"], arguments["expiry"], most_bytes)

    router = router_of_checked(stock.router.prefix)
    endpoints: tuple[tuple[str, str, Callable, Callable], ...] = (
        ("GET", "/{session_id}", stock.api_get_session, _get),
        ("PUT", "/", stock.api_create_session, create),
        ("DELETE", "/{session_id}", stock.api_remove_session, _remove),
    )
    for method, path, own, answer in endpoints:
        name = f"slmsam2_{method}_session"
        router.add_api_route(
            path, off_the_loop(own, answer), methods=[method], name=name, include_in_schema=False
        )
    return router


def _get(arguments: dict[str, Any]) -> Any:
    session = _checked(arguments["session_id"])
    if not arguments["image"]:
        return stock.get_session(session, arguments["update_ts"])
    if Path(stock.get_session(session)["image"]).is_dir():
        raise PromptError("The image of this session is a folder of files, which is not sent back.")
    return stock.get_session(session, arguments["update_ts"], image=True)


def _remove(arguments: dict[str, Any]) -> Any:
    return stock.remove_session(_checked(arguments["session_id"]))


def _checked(session: str) -> str:
    if not is_session_id(session):
        raise unknown_image(f"session {session[:100]!r}")
    return session


def _create(files: list[UploadFile], uncompress: bool, expiry: int, most_bytes: int) -> dict[str, Any]:
    """Keep uploaded files as the image of a new session: the one file, or a folder of them."""
    sessions = stock.app_instance().sessions()
    if sessions is None:
        raise HTTPException(406, "Sessions are switched off on this server (MONAI_LABEL_SESSIONS).")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "image"
        received = Path(made) / "files"
        for each in (folder, received):
            each.mkdir()
        paths = [_receive(upload, received) for upload in files]
        if uncompress:
            for path in paths:
                unpack(path, folder, most_bytes)
        image = folder if uncompress else received if len(paths) > 1 else paths[0]
        session_id, info = sessions.add_session(str(image), expiry)
    return {"session_id": session_id, "session_info": info.to_json()}


def _receive(upload: UploadFile, folder: Path) -> Path:
    path = folder / check_id(base_of(upload.filename))
    if path.exists() or path.name == "meta.info":
        raise PromptError(
            f"Two files are called {path.name!r}, or it is a name of the server's own. Rename it."
        )
    with path.open("xb") as stream:
        shutil.copyfileobj(upload.file, stream)
    return path
