"""What is refused before any route sees it: addresses that lead elsewhere, large bodies, pages of somewhere else."""

import pytest
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient

from slmsam2.server.door import put_up_door
from slmsam2.server.names import leads_away

pytestmark = pytest.mark.unit

FRIEND = "https://viewer.example.org"


@pytest.fixture
def client():
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "PUT"])
    async def echo(path: str, request: Request) -> dict:
        return {"path": path, "bytes": len(await request.body())}

    app.add_middleware(CORSMiddleware, allow_origins=["*"])  # as MONAI Label does
    put_up_door(app, 1000, [FRIEND])
    put_up_door(app, 1000, [FRIEND])
    return TestClient(app)


@pytest.mark.parametrize(
    "path", ["a/../b", "a/%2e%2e/b", "%252E%252e", "a\\b", "a%5cb", "%00", "a%0ab", ".."]
)
def test_addresses_that_lead_away(path):
    assert leads_away(path)


@pytest.mark.parametrize("path", ["a/b", "a..b/c", "/proxy/dicom/studies/1.2.840", "a%20b", "%e4", ""])
def test_addresses_that_do_not(path):
    assert not leads_away(path)


def test_bodies_up_to_the_bound(client):
    assert client.put("/x", content=b"1" * 1000).json()["bytes"] == 1000
    answer = client.put("/x", content=b"1" * 1001)
    assert answer.status_code == 413
    assert "most_megabytes" in answer.json()["detail"]


def test_bodies_that_do_not_say_how_long_they_are(client):
    assert client.put("/x", content=iter([b"1" * 500, b"1" * 500])).json()["bytes"] == 1000
    answer = client.put("/x", content=iter([b"1" * 500, b"1" * 501]))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://testserver.evil.example", "http://testserver:1"]
)
def test_a_page_of_another_server_changes_nothing(client, origin):
    assert client.put("/x", headers={"Origin": origin}).status_code == 403
    answer = client.get("/x", headers={"Origin": origin})
    assert (answer.status_code, answer.headers.get("Access-Control-Allow-Origin")) == (200, None)


def test_a_page_that_is_named_may_read_and_change(client):
    answer = client.put("/x", headers={"Origin": FRIEND})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, FRIEND)
    asked = {"Origin": FRIEND, "Access-Control-Request-Method": "PUT"}
    assert client.options("/x", headers=asked).headers["Access-Control-Allow-Origin"] == FRIEND


def test_our_own_page_may(client):
    assert client.put("/x", headers={"Origin": "http://testserver"}).status_code == 200
