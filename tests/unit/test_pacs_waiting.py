"""A PACS that hangs, refuses or is away: nobody waits long, and everybody is told."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest
import requests
from fastapi import FastAPI
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.endpoints import proxy as stock_proxy
from starlette.testclient import TestClient

import fake_pacs
from sentences import check_sentence
from slmsam2.server.datastore import pacs_client as archive
from slmsam2.server.requests.study import find_study
from slmsam2.server.routes.front import off_the_loop
from slmsam2.server.routes.proxy import proxy_routes

pytestmark = pytest.mark.unit

SHORT = (0.3, 0.3)
SEARCH = "/proxy/dicom/qido/studies/1.2.3/series/1.2.3.9"


@pytest.fixture
def pacs():
    with fake_pacs.running() as pacs:
        yield pacs


@pytest.fixture
def hang(pacs, monkeypatch):
    """Let it take requests and answer none until the test ends."""
    ended = threading.Event()
    monkeypatch.setattr(archive, "WAIT", SHORT)

    def hang():
        pacs.trouble = lambda method, path: (ended.wait(30), None)[1]

    yield hang
    ended.set()


@pytest.fixture
def client(pacs):
    client = DICOMwebClientX(pacs.url)
    archive.bound_waiting(client)
    return client


@pytest.fixture
def make_proxy(pacs, monkeypatch):
    """The server's way to the PACS, for a browser."""

    def make_proxy(url=pacs.url):
        monkeypatch.setattr(stock_proxy, "requests", stock_proxy.requests)
        monkeypatch.setattr(settings, "MONAI_LABEL_STUDIES", url)
        app = FastAPI()
        app.include_router(proxy_routes())
        return TestClient(app)

    return make_proxy


def seconds_of(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_the_client_gives_up_on_an_archive_that_hangs(client, pacs, hang):
    hang()

    def search():
        with pytest.raises(requests.Timeout):
            client.search_for_series()

    assert seconds_of(search) < 2
    assert len(pacs.asked) == 1  # it does not answer sooner when it is asked again


def test_what_has_a_bound_of_its_own_keeps_it(client, hang):
    hang()

    def ask():
        with pytest.raises(requests.Timeout):
            client._session.get(f"{client.base_url}/series", timeout=1.2)

    assert 1.1 < seconds_of(ask) < 3


def test_an_archive_that_is_away_is_known_at_once():
    client = DICOMwebClientX(f"http://127.0.0.1:{closed_port()}/dicom-web")
    archive.bound_waiting(client)

    def search():
        with pytest.raises(requests.ConnectionError):
            client.search_for_series()

    assert seconds_of(search) < 1


def test_a_busy_archive_is_asked_again(client, pacs):
    answers = [(503, b""), (429, b"")]
    pacs.trouble = lambda method, path: answers.pop(0) if answers else None
    assert client.search_for_series() == []
    assert len(pacs.asked) == 3


def test_an_archive_that_stays_busy_says_so(client, pacs):
    pacs.trouble = lambda method, path: (503, b"")
    with pytest.raises(requests.HTTPError):
        client.search_for_series()
    assert len(pacs.asked) == 3


def test_a_browser_is_told_that_the_archive_hangs(make_proxy, hang):
    proxy = make_proxy()
    hang()
    answers = []
    assert seconds_of(lambda: answers.append(proxy.get(SEARCH))) < 2
    assert seconds_of(lambda: answers.append(proxy.post(SEARCH, content=b"x"))) < 2
    for answer in answers:
        assert answer.status_code == 504
        assert "did not answer in time" in answer.json()["detail"]


def test_a_browser_is_told_that_the_archive_stops_in_the_middle(make_proxy, monkeypatch):
    monkeypatch.setattr(archive, "WAIT", SHORT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer_by_half, args=(server,), daemon=True).start()
        answer = make_proxy(f"http://127.0.0.1:{server.getsockname()[1]}").get(SEARCH)
    assert answer.status_code == 504


def answer_by_half(server):
    connection, _ = server.accept()
    connection.recv(10_000)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    time.sleep(3)


def test_a_browser_is_told_that_the_archive_is_away(make_proxy):
    answer = make_proxy(f"http://127.0.0.1:{closed_port()}/dicom-web").get(SEARCH)
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["detail"]


def test_a_browser_gets_what_the_archive_answers(make_proxy, pacs):
    pacs.trouble = lambda method, path: (409, b"as it is")
    answer = make_proxy().get(SEARCH, params={"limit": 5})
    assert (answer.status_code, answer.content) == (409, b"as it is")
    assert pacs.asked == [("GET", "/dicom-web/studies/1.2.3/series/1.2.3.9?limit=5")]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (requests.ReadTimeout(), 504),
        (requests.ConnectTimeout(), 504),
        (requests.ConnectionError(), 502),
    ],
)
def test_every_request_is_told(error, status):
    def fail(arguments):
        raise error

    async def stock():
        """Takes nothing."""

    app = FastAPI()
    app.add_api_route("/x", off_the_loop(stock, fail))
    answer = TestClient(app).get("/x")
    assert answer.status_code == status
    check_sentence(answer.json()["detail"])


def test_an_inference_is_told():
    def get_image_uri(image):
        raise requests.ReadTimeout

    came = SimpleNamespace(session=False, image_uploaded=False, label_uploaded=False)
    with pytest.raises(Exception, match="did not answer in time") as raised:
        find_study({"image": "1.2.3"}, came, SimpleNamespace(get_image_uri=get_image_uri), None, None)
    assert raised.value.status_code == 504
