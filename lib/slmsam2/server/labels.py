"""MONAI Label's label endpoints, off the event loop and with a sentence for each error."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import requests
from fastapi import APIRouter, HTTPException
from monailabel.endpoints import datastore as stock
from monailabel.interfaces.exception import MONAILabelException

from slmsam2.errors import SlmSam2Error
from slmsam2.server.answers import archive_silent, failure, refusal, unknown_label
from slmsam2.server.front import new_router

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

    async def endpoint(**arguments: Any) -> Any:
        user = arguments.pop("user")
        if takes_user:
            arguments["user"] = user.username
        try:
            return await anyio.to_thread.run_sync(functools.partial(_answer, work, arguments))
        except HTTPException:
            tasks = arguments.get("background_tasks")
            if tasks is not None:
                await tasks()  # removes the upload: without a response of its own nothing else does
            raise

    endpoint.__signature__ = inspect.signature(own)  # type: ignore[attr-defined]
    return endpoint


def _answer(work: Callable, arguments: dict[str, Any]) -> Any:
    """Do the work in this thread; every error leaves as an HTTPException."""
    try:
        return work(**arguments)
    except HTTPException:
        raise
    except SlmSam2Error as error:
        raise refusal(error) from error
    except (LookupError, MONAILabelException) as error:
        raise unknown_label() from error
    except requests.RequestException as error:
        logger.warning("The PACS does not answer: %s", error)
        raise archive_silent() from error
    except Exception as error:
        logger.exception("A label could not be saved, read or deleted")
        raise failure() from error
