"""Whether the server can work, and how it does: ``/slmsam2/health`` and ``/slmsam2/metrics`` for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
from fastapi import APIRouter
from monailabel.config import settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.responses import JSONResponse, Response

from slmsam2.engine import Workspace
from slmsam2.server.infer import KINDS
from slmsam2.server.memory.steps import Memory
from slmsam2.server.routes.front import new_router, router_of_checked
from slmsam2.server.running.line import line
from slmsam2.server.running.models import ModelStore

SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Monitor:
    """What is counted while the server runs."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._seconds = Histogram(
            "slmsam2_inference_seconds",
            "Seconds of the parts of an inference",
            ["model", "part"],
            buckets=SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "slmsam2_answers", "Answers to requests for an inference", ["model", "status"], registry=registry
        )
        self._network = Gauge("slmsam2_model", "The weights in use", ["name", "version"], registry=registry)
        inside = Gauge("slmsam2_inferences", "Inferences that wait or are under way", registry=registry)
        inside.set_function(lambda: line.inside)
        self._bytes = Gauge("slmsam2_kept_bytes", "Kept between requests", ["what"], registry=registry)
        self._models: ModelStore | None = None

    def watch(self, models: ModelStore, memory: Memory, workspace: Workspace) -> None:
        """Tell about these from now on."""
        self._models = models
        self._bytes.labels("memory").set_function(lambda: memory.bytes)
        self._bytes.labels("features").set_function(lambda: workspace.features.bytes)
        self._bytes.labels("passes").set_function(lambda: workspace.passes.bytes)
        self._bytes.labels("images").set_function(lambda: workspace.volumes.bytes)
        if torch.cuda.is_available():
            self._bytes.labels("gpu").set_function(torch.cuda.memory_allocated)

    def answered(self, model: str, status: int) -> None:
        """Count an answer; models that do not exist count as one."""
        self._answers.labels(model if model in KINDS else "other", str(status)).inc()

    def took(self, model: str, latencies: Mapping[str, float]) -> None:
        """Note the seconds of an inference, by part; {}: nothing was inferred, such as for an undo."""
        for part, seconds in latencies.items():
            self._seconds.labels(model, part).observe(seconds)
        if latencies:
            line.took(latencies["total"] - latencies["wait"])

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        facts = self.network()
        self._network.clear()
        if facts.get("version"):
            self._network.labels(facts["name"], facts["version"]).set(1)
        return generate_latest(self.registry)

    def network(self) -> dict[str, str]:
        """Name and version of the weights; {} before the app is built."""
        return {} if self._models is None else self._models.facts()


monitor = Monitor()


def monitoring_routes() -> tuple[APIRouter, APIRouter]:
    """Health is open to everybody, for load balancers, and says no more than that; metrics are for users."""
    everybody, users = router_of_checked("/slmsam2"), new_router("/slmsam2")

    @everybody.get("/health", summary="Whether the server can work", tags=["Others"])
    def slmsam2_health() -> Response:
        problem = _problem()
        status = 200 if problem is None else 503
        return JSONResponse({"status": "ok"} if problem is None else {"detail": problem}, status)

    @users.get("/metrics", summary="Counts and times for Prometheus", tags=["Others"])
    def slmsam2_metrics() -> Response:
        return Response(monitor.text(), media_type=TEXT)

    return everybody, users


def _problem() -> str | None:
    """What keeps the server from working; None: nothing."""
    if not monitor.network().get("version"):
        return "There are no weights that load. The server's log says which file is missing."
    studies = settings.MONAI_LABEL_STUDIES
    if not studies.startswith(("http://", "https://")) and not os.access(studies, os.W_OK):
        return "The folder of studies cannot be written, so no label can be saved."
    return None
