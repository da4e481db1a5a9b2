"""Our routes go in front of MONAI Label's: the first route that fits a path answers."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC


def new_router(prefix: str) -> APIRouter:
    """A router under MONAI Label's own prefix, for those who may use the server."""
    user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
    return APIRouter(prefix=settings.MONAI_LABEL_API_STR + prefix, dependencies=[user])


def put_in_front(app: FastAPI, router: APIRouter) -> None:
    """Let the router's routes answer first; doing it again changes nothing."""
    there = {getattr(route, "name", None) for route in app.router.routes}
    new = [route for route in router.routes if getattr(route, "name", None) not in there]
    app.router.routes[:0] = new
