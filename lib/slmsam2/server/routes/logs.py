"""MONAI Label's endpoints for its log and its GPUs, off the event loop, with a sentence for each error."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from monailabel.config import settings
from monailabel.endpoints import logs as stock
from starlette.responses import Response

from slmsam2.server.routes.front import off_the_loop, router_of_checked

MOST_LINES = 100_000


def log_routes() -> APIRouter:
    """The same addresses as MONAI Label's."""
    router = router_of_checked(stock.router.prefix)
    for path, own, answer in (("/", stock.api_get_logs, _log), ("/gpu", stock.gpu_info, _gpu)):
        router.add_api_route(
            path, off_the_loop(own, answer), name=f"slmsam2_logs{path}", include_in_schema=False
        )
    return router


def _log(arguments: dict[str, Any]) -> Any:
    file = Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"
    lines = arguments["lines"]
    lines = MOST_LINES if lines is None else min(lines, MOST_LINES)
    return stock.get_logs(str(file), lines, arguments["html"], arguments["text"], arguments["refresh"])


def _gpu(arguments: dict[str, Any]) -> Any:
    try:
        answer = subprocess.run(["nvidia-smi"], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HTTPException(404, "This server has no NVIDIA GPU, or no nvidia-smi that answers.") from error
    return Response(answer.stdout.decode(errors="replace"), media_type="text/plain")
