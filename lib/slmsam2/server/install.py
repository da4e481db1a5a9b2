"""All routes of the app, put into MONAI Label's server."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from slmsam2.server.front import put_in_front
from slmsam2.server.labels import label_routes
from slmsam2.server.progress import progress_routes
from slmsam2.server.proxy import proxy_routes
from slmsam2.server.routes import install_routes
from slmsam2.server.viewer import viewer_routes


def install(server: FastAPI, app_dir: Path) -> None:
    """Put our routes in front of MONAI Label's; doing it again changes nothing.

    Args:
        app_dir: folder of ``main.py``; the viewer's modules are in ``ohif`` there.
    """
    install_routes(server)
    for routes in (progress_routes(), label_routes(), proxy_routes(), viewer_routes(app_dir / "ohif")):
        put_in_front(server, routes)
