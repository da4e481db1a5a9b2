"""Routes of MONAI Label that are closed here."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints import model as stock
from monailabel.endpoints import wsi_infer
from monailabel.endpoints.ohif import router as ohif
from monailabel.endpoints.user.auth import RBAC

from slmsam2.server.routes.front import router_of_checked


def closed_routes() -> APIRouter:
    """Weights are not taken from clients, and whole-slide images not opened: MONAI Label would open any file for them;
    an app that is built anew would neither learn nor score; the viewer's folder is no file."""
    router = router_of_checked("")
    user = [Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]

    @router.api_route(f"{stock.router.prefix}/{{model}}", methods=["PUT", "DELETE"], include_in_schema=False)
    async def slmsam2_no_weights(model: str) -> None:
        raise HTTPException(
            403,
            "This server takes no weights from clients. On the server: scripts/models.py install, or rollback.",
        )

    @router.post(f"{wsi_infer.router.prefix}/wsi/{{model}}", dependencies=user, include_in_schema=False)
    @router.post(f"{wsi_infer.router.prefix}/wsi_v2/{{model}}", dependencies=user, include_in_schema=False)
    async def slmsam2_no_slides(model: str) -> None:
        raise HTTPException(
            400, "This server labels volumes, not whole-slide images. Use /infer/ with an image id."
        )

    @router.get(f"{ohif.prefix}/.", include_in_schema=False)
    async def slmsam2_no_folder() -> None:
        raise HTTPException(404, "The viewer has no such file.")

    @router.post("/reload", include_in_schema=False)
    async def slmsam2_no_reload() -> None:
        raise HTTPException(
            403, "The app is not built anew while the server runs. Restart the server on its machine instead."
        )

    return router
