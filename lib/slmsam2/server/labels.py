"""MONAI Label's label endpoints, off the event loop and with a sentence for each error."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import requests
from fastapi import APIRouter
from monailabel.endpoints import datastore as stock
from monailabel.interfaces.exception import MONAILabelException

from slmsam2.server.answers import archive_silent, unknown_label
from slmsam2.server.front import new_router, off_the_loop

logger = logging.getLogger(__name__)


def label_routes() -> APIRouter:
    """Save, download and delete a label, at MONAI Label's own addresses."""
    router = new_router(stock.router.prefix)
    for method, own, work in (
        ("PUT", stock.api_save_label, stock.save_label),
        ("GET", stock.api_download_label, stock.download_label),
        ("DELETE", stock.api_remove_label, stock.remove_label),
    ):
        name = f"slmsam2_{work.__name__}"
        router.add_api_route(
            "/label", _endpoint(own, work), methods=[method], name=name, include_in_schema=False
        )
    return router


def _endpoint(own: Callable, work: Callable) -> Callable:
    """An endpoint with the parameters (and so the access checks) of MONAI Label's ``own``, that does ``work``."""
    takes_user = "user" in inspect.signature(work).parameters

    def answer(arguments: dict[str, Any]) -> Any:
        user = arguments.pop("user")
        if takes_user:
            arguments["user"] = user.username
        try:
            return work(**arguments)
        except (LookupError, MONAILabelException) as error:
            raise unknown_label() from error
        except requests.RequestException as error:
            logger.warning("The PACS does not answer: %s", error)
            raise archive_silent() from error

    return off_the_loop(own, answer)
