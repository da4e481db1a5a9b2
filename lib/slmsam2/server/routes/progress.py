"""Routes to follow an inference and to cancel it: ``/slmsam2/progress/{request_id}``."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from slmsam2.server.routes.front import new_router
from slmsam2.server.running.runs import Run, runs


def progress_routes() -> APIRouter:
    """``GET`` tells ``done`` and ``total`` slices, and how many are ``before`` it in the line; ``DELETE`` ends the run
    at its next slice."""
    router = new_router("/slmsam2/progress")

    @router.get("/{request_id}", summary="How far an inference is", tags=["Infer"])
    async def slmsam2_progress(request_id: str) -> dict[str, int | bool]:
        return _facts(_find(request_id))

    @router.delete("/{request_id}", summary="Cancel an inference", tags=["Infer"])
    async def slmsam2_cancel(request_id: str) -> dict[str, int | bool]:
        run = _find(request_id)
        run.cancelled = True
        return _facts(run)

    return router


def _find(request_id: str) -> Run:
    run = runs.find(request_id)
    if run is None:
        raise HTTPException(404, "No inference with this request_id is under way: it is done, or not begun.")
    return run


def _facts(run: Run) -> dict[str, int | bool]:
    return {"done": run.done, "total": run.total, "before": run.before, "cancelled": run.cancelled}
