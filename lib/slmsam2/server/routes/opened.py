"""Route by which a viewer says that an image was opened: ``/slmsam2/opened/{image}``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.interfaces.utils.app import app_instance

from slmsam2.server.routes.answers import unknown_image
from slmsam2.server.routes.front import new_router, off_the_loop


def opened_routes() -> APIRouter:
    """``POST`` has the image fetched and read before anything is asked of it: a viewer gets its slices elsewhere."""
    router = new_router("/slmsam2/opened")
    router.add_api_route(
        "/{image}",
        off_the_loop(_open, lambda arguments: _open(**arguments)),
        methods=["POST"],
        name="slmsam2_opened",
        summary="Prepare an image that somebody looks at",
        tags=["Infer"],
    )
    return router


def _open(image: str) -> dict[str, Any]:
    """Raises:
    HTTPException: 404, there is no such image.
    """
    app = app_instance()
    if image not in app.datastore().list_images():
        raise unknown_image(f"image {image!r}")
    app.image_opened(image)
    return {}
