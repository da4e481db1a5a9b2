"""What is refused before any route sees it: addresses that lead elsewhere, large bodies, pages of somewhere else."""

import time
from functools import reduce
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.testclient import TestClient

from slmsam2.server.routes.door import put_up_door
from slmsam2.server.routes.names import leads_away

pytestmark = pytest.mark.unit

FRIEND = "https://viewer.example.org"
NAME = "label.example.org"


@pytest.fixture
def client():
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "PUT"])
    async def echo(path: str, request: Request) -> dict:
        return {"path": path, "bytes": len(await request.body())}

    app.add_middleware(CORSMiddleware, allow_origins=["*"])  # as MONAI Label does
    put_up_door(app, 1000, [FRIEND], [NAME])
    put_up_door(app, 1000, [FRIEND], [NAME])
    return TestClient(app)


@pytest.mark.parametrize(
    "path", ["a/../b", "a/%2e%2e/b", "%252E%252e", "a\\b", "a%5cb", "%00", "a%0ab", ".."]
)
def test_addresses_that_lead_away(path):
    assert leads_away(path)


@pytest.mark.parametrize("path", ["a/b", "a..b/c", "/proxy/dicom/studies/1.2.840", "a%20b", "%e4", ""])
def test_addresses_that_do_not(path):
    assert not leads_away(path)


def test_addresses_encoded_more_often_than_anybody_needs():
    often = [reduce(lambda text, _: quote(text), range(times), "a b") for times in range(8)]
    assert [leads_away(path) for path in often] == [False] * 6 + [True] * 2


def test_long_addresses_take_no_time():
    begin = time.process_time()
    assert leads_away("%" + "25" * 50_000)
    assert not leads_away("%25" * 30_000)
    assert time.process_time() - begin < 0.3


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
    "origin",
    ["http://evil.example", "null", "http://testserver.evil.example", "http://testserver:1", "http://[::"],
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


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "[::",
        "label.example.org.evil.example",
        "a.localhost",
    ],
)
def test_a_name_that_somebody_lets_point_here_is_refused(client, host):
    """Though all else looks as if it came from a page of this server."""
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        for answer in (client.get("/x", headers=headers), client.put("/x", headers=headers)):
            assert answer.status_code == 421
            assert host in answer.json()["detail"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "localhost", "gpu1:8000", NAME, "Label.Example.org.:443"],
)
def test_addresses_plain_names_and_given_ones_are_this_servers(client, host):
    assert client.get("/x", headers={"Host": host}).status_code == 200
