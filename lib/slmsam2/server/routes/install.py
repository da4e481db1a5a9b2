"""All routes of the app, put into MONAI Label's server."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from slmsam2.server.configuration import Configuration
from slmsam2.server.routes.closed import closed_routes
from slmsam2.server.routes.door import put_up_door
from slmsam2.server.routes.front import put_in_front
from slmsam2.server.routes.inference import install_routes
from slmsam2.server.routes.jobs import job_routes
from slmsam2.server.routes.logs import log_routes
from slmsam2.server.routes.monitoring import monitoring_routes
from slmsam2.server.routes.opened import opened_routes
from slmsam2.server.routes.progress import progress_routes
from slmsam2.server.routes.proxy import proxy_routes
from slmsam2.server.routes.review import review_routes
from slmsam2.server.routes.sessions import session_routes
from slmsam2.server.routes.stored import stored_routes
from slmsam2.server.routes.tokens import mend_sign_in
from slmsam2.server.routes.viewer import viewer_routes


def install(server: FastAPI, app_dir: Path, settings: Configuration) -> None:
    """Put our routes in front of MONAI Label's, and a door before all; doing it again changes nothing.

    Args:
        app_dir: folder of ``main.py``; the viewer's modules are in ``ohif`` there.
        settings: with the bounds on what is sent, and who may ask.
    """
    install_routes(server, settings.most_voxels)
    for routes in (
        progress_routes(),
        opened_routes(),
        review_routes(),
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
