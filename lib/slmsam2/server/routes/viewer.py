"""OHIF with our extension: no rebuild, the stock viewer loads our modules when it starts."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException
from monailabel.config import settings
from monailabel.endpoints import ohif as stock
from starlette.responses import FileResponse, Response

from slmsam2.server.routes.front import new_router

MODULES = "/slmsam2/ohif"
FRESH = {"Cache-Control": "no-cache"}  # browsers ask each time whether it has changed
LOADER = """
// SLM-SAM 2: an extension (panel) and a mode (brushes and that panel), loaded by OHIF's own loader
window.config.extensions.push("{base}/extension.js");
window.config.modes.push("{base}/mode.js");
"""


def viewer_routes(folder: Path) -> APIRouter:
    """OHIF's configuration with our extension in it, and the extension's modules.

    Args:
        folder: where the modules lie.
    """
    router = new_router("")

    @router.get(f"{stock.router.prefix}/app-config.js", include_in_schema=False)
    async def slmsam2_viewer_configuration() -> Response:
        return Response(viewer_configuration(), media_type="text/javascript", headers=FRESH)

    @router.get(f"{MODULES}/{{name}}", include_in_schema=False)
    async def slmsam2_viewer_module(name: str) -> Response:
        return _module(folder, name)

    return router


def viewer_configuration() -> str:
    """MONAI Label's own configuration of OHIF, then ours."""
    text = Path(stock.get_ohif("app-config.js").path).read_text(encoding="utf-8")
    return text + LOADER.replace("{base}", settings.MONAI_LABEL_API_STR + MODULES)


def _module(folder: Path, name: str) -> FileResponse:
    path = folder / name
    if path.suffix != ".js" or Path(name).name != name or not path.is_file():
        raise HTTPException(404, f"The viewer has no module {name!r}.")
    return FileResponse(path, media_type="text/javascript", headers=FRESH)
