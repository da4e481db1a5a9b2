"""Fetching weights from a real HTTP server: whole, resumed, damaged, refused, out of reach."""

import hashlib
import importlib.util
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "download_checkpoints.py"
NAME = "sam2.1_hiera_tiny.pt"
CONTENT = bytes(range(256)) * 4000


class Files(BaseHTTPRequestHandler):
    """Serves CONTENT; `behaviour` of the server says how."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.behaviour == "refuses":
            self.send_error(403)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if self.server.behaviour == "cannot resume":
            start, asked = 0, None
        if asked and start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        sent = CONTENT[start:]
        self.wfile.write(sent[: len(sent) // 2] if self.server.behaviour == "breaks off" else sent)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.behaviour, server.asked = "resumes", []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(mirror, tmp_path, monkeypatch, capsys):
    """Runs the script's main; returns exit code, what it printed, and the folder of the weights."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    spec = importlib.util.spec_from_file_location("download_checkpoints", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    known = script.Source(NAME, 1, hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(script.SOURCES, "tiny", known)
    base = f"http://127.0.0.1:{mirror.server_port}/files/"
    folder = tmp_path / "checkpoints"

    def run(size="tiny"):
        code = script.main([size, "--model-dir", str(tmp_path), "--url-base", base])
        printed = capsys.readouterr()
        return code, printed.out + printed.err, folder

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file(fetch, mirror):
    code, printed, folder = fetch()
    assert code == 0
    assert (folder / NAME).read_bytes() == CONTENT
    assert names(folder) == [NAME]
    assert "1.0 MB" in printed

    code, printed, _ = fetch()
    assert code == 0
    assert "there already" in printed
    assert mirror.asked == [None]


def test_goes_on_where_it_stopped(fetch, mirror):
    mirror.behaviour = "breaks off"
    code, printed, folder = fetch()
    assert code == 1
    assert "again" in printed
    assert names(folder) == [f"{NAME}.part"]
    half = (folder / f"{NAME}.part").stat().st_size
    assert 0 < half < len(CONTENT)

    mirror.behaviour = "resumes"
    code, printed, folder = fetch()
    assert code == 0
    assert mirror.asked == [None, f"bytes={half}-"]
    assert (folder / NAME).read_bytes() == CONTENT
    assert names(folder) == [NAME]


def test_starts_again_where_the_server_cannot_resume(fetch, mirror, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{NAME}.part").write_bytes(b"something else")
    mirror.behaviour = "cannot resume"
    code, _, folder = fetch()
    assert code == 0
    assert (folder / NAME).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(fetch, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{NAME}.part").write_bytes(CONTENT)
    code, _, folder = fetch()
    assert code == 0
    assert names(folder) == [NAME]


def test_damaged_file_is_not_put_in_place(fetch, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{NAME}.part").write_bytes(b"x" * 1000)
    code, printed, folder = fetch()
    assert code == 1
    assert "SHA-256 differs" in printed
    assert names(folder) == []
    assert fetch()[0] == 0  # and the next time it starts anew


def test_refusing_server(fetch, mirror):
    mirror.behaviour = "refuses"
    code, printed, folder = fetch()
    assert code == 1
    assert "403" in printed
    assert names(folder) == []


def test_no_connection_says_how_to_place_the_file(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        command = [sys.executable, SCRIPT, "large", "--model-dir", tmp_path, "--url-base", base]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_large.pt" in done.stderr
    assert str(tmp_path / "checkpoints" / "sam2.1_hiera_large.pt") in done.stderr
    assert "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318" in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_size_lists_the_known(fetch, capsys):
    with pytest.raises(SystemExit) as ended:
        fetch("huge")
    assert ended.value.code == 2
    assert "base_plus (324 MB)" in capsys.readouterr().err
