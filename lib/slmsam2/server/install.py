"""All routes of the app, put into MONAI Label's server."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from slmsam2.server.closed import closed_routes
from slmsam2.server.configuration import Configuration
from slmsam2.server.door import put_up_door
from slmsam2.server.front import put_in_front
from slmsam2.server.jobs import job_routes
from slmsam2.server.logs import log_routes
from slmsam2.server.monitoring import monitoring_routes
from slmsam2.server.progress import progress_routes
from slmsam2.server.proxy import proxy_routes
from slmsam2.server.routes import install_routes
from slmsam2.server.sessions import session_routes
from slmsam2.server.stored import stored_routes
from slmsam2.server.tokens import mend_sign_in
from slmsam2.server.viewer import viewer_routes


def install(server: FastAPI, app_dir: Path, settings: Configuration) -> None:
    """Put our routes in front of MONAI Label's, and a door before all; doing it again changes nothing.

    Args:
        app_dir: folder of ``main.py``; the viewer's modules are in ``ohif`` there.
        settings: with the bounds on what is sent, and who may ask.
    """
    install_routes(server, settings.most_voxels)
    for routes in (
        progress_routes(),
        *monitoring_routes(),
        stored_routes(settings.most_voxels),
        session_routes(settings.most_bytes),
        job_routes(),
        log_routes(),
        proxy_routes(),
        viewer_routes(app_dir / "ohif"),
        closed_routes(),
    ):
        put_in_front(server, routes)
    put_up_door(server, settings.most_bytes, settings.origins, settings.hosts)
    mend_sign_in()
