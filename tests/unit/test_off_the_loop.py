"""A datastore that takes its time holds up nobody else."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from monailabel.endpoints import datastore, info

from slmsam2.server.routes.front import put_in_front
from slmsam2.server.routes.inference import install_routes
from slmsam2.server.routes.stored import stored_routes

pytestmark = pytest.mark.unit


@pytest.fixture
def slow(monkeypatch):
    """An app whose datastore answers when it is allowed to."""
    released = threading.Event()

    def status():
        return {"total": 3, "waited": released.wait(5)}

    app = SimpleNamespace(info=status, datastore=lambda: SimpleNamespace(status=status))
    for module in (info, datastore):
        monkeypatch.setattr(module, "app_instance", lambda: app)
    yield released
    released.set()


@pytest.fixture
def server():
    app = FastAPI()
    app.include_router(info.router)
    app.include_router(datastore.router)
    app.add_api_route("/quick", lambda: "quick")
    install_routes(app, 10**9)
    put_in_front(app, stored_routes(10**9))
    return app


@pytest.mark.parametrize("path", ["/info/", "/datastore/", "/datastore/?output=stats"])
def test_others_are_answered_while_the_archive_is_asked(server, slow, path):
    async def ask():
        transport = httpx.ASGITransport(app=server)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            waiting = asyncio.create_task(client.get(path))
            await asyncio.sleep(0.1)
            assert (await client.get("/quick")).json() == "quick"
            assert not waiting.done()
            slow.set()
            return await waiting

    with ThreadPoolExecutor(1) as elsewhere:  # a loop of a browser's tests may be running in this thread
        answer = elsewhere.submit(asyncio.run, ask()).result()
    assert answer.status_code == 200
    assert answer.json().items() >= {"total": 3, "waited": True}.items()
