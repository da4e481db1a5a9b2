"""A real server on small made-up studies, and the stock client."""

import shutil

import pytest
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import make_studies, phantom


@pytest.fixture(scope="session")
def truth():
    """The organs of the phantom, (I, J, K) uint8."""
    return phantom()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The running server: url, studies folder, its temporary folder and its log."""
    base = tmp_path_factory.mktemp("server")
    with running_server(base, make_studies(base / "studies")) as server:
        yield server


@pytest.fixture
def client(server, tmp_path):
    folder = tmp_path / "client"
    folder.mkdir()
    yield MONAILabelClient(server.url, tmpdir=str(folder), client_id="test")
    shutil.rmtree(folder)


@pytest.fixture
def connect(server, tmp_path):
    """Clients by id, as Slicer makes them."""
    folders = []

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        folders.append(folder)
        return MONAILabelClient(server.url, tmpdir=str(folder), client_id=f"{tmp_path.name}-{name}")

    yield make
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def slicer(connect):
    return connect("slicer")
