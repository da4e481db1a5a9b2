"""A PACS by DICOMweb on 127.0.0.1 that does what a test wants: one study, and failures on demand."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom.dataset import Dataset

STUDY = "1.2.3"
BOUNDARY = "next"
JSON = "application/dicom+json"


class FakePacs:
    """What it holds, what it was asked, and what goes wrong.

    Attributes:
        series: UID -> its files' bytes.
        tells: UID -> number of instances that searches say, if not the true one; None: nothing is said.
        hidden: UIDs that no search lists.
        asked: ``(method, path with query)`` of each request, in order.
        trouble: called with method and path before an answer; may wait; (status, content) is sent instead.
        stored: what a STOW is answered with; by default that all is well. None: an empty body.
    """

    def __init__(self) -> None:
        self.series: dict[str, list[bytes]] = {}
        self.tells: dict[str, int | None] = {}
        self.hidden: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.trouble: Callable[[str, str], tuple[int, bytes] | None] = lambda method, path: None
        self.stored: dict[str, Any] | None = {}
        self.url = ""

    def searches(self) -> int:
        """Number of searches so far."""
        return sum(urlsplit(path).path == "/dicom-web/series" for _, path in self.asked)

    def retrievals(self) -> int:
        """Number of series that were asked for so far."""
        return sum(re.search(r"/series/[0-9.]+$", path) is not None for _, path in self.asked)

    def listed(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Answer of a search for series."""
        found = [self._entry(uid) for uid in self.series if uid not in self.hidden]
        wanted = query.get("SeriesInstanceUID"), query.get("Modality")
        return [
            entry.to_json_dict()
            for entry in found
            if wanted[0] in (None, entry.SeriesInstanceUID) and wanted[1] in (None, entry.Modality)
        ]

    def _entry(self, uid: str) -> Dataset:
        first = read(self.series[uid][0])
        entry = Dataset()
        entry.StudyInstanceUID, entry.SeriesInstanceUID, entry.Modality = STUDY, uid, first.Modality
        count = self.tells.get(uid, len(self.series[uid]))
        if count is not None:
            entry.NumberOfSeriesRelatedInstances = count
        return entry


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))


@contextmanager
def running() -> Iterator[FakePacs]:
    """The PACS, while the context is open."""
    pacs = FakePacs()
    handler = type("Handler", (_Handler,), {"pacs": pacs})
    server = _Server(("127.0.0.1", 0), handler)
    pacs.url = f"http://127.0.0.1:{server.server_port}/dicom-web"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Those who wait no longer are no error here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    pacs: FakePacs
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.pacs.asked.append((self.command, self.path))
        trouble = self.pacs.trouble(self.command, self.path)
        if trouble is not None:
            return self._send(*trouble, "text/plain")
        if self.command == "POST":
            return self._store(body)
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/dicom-web/series":
            return self._send(200, json.dumps(self.pacs.listed(query)).encode(), JSON)
        found = re.fullmatch(r"/dicom-web/studies/[0-9.]+/series/([0-9.]+)(/metadata)?", url.path)
        if found is None or found[1] not in self.pacs.series:
            return self._send(404, b"", "text/plain")
        files = self.pacs.series[found[1]]
        if self.command == "DELETE":
            del self.pacs.series[found[1]]
            return self._send(200, b"", "text/plain")
        if found[2]:
            heads = [read(content).to_json_dict() for content in files]
            return self._send(200, json.dumps(heads).encode(), JSON)
        kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
        return self._send(200, _multipart(files), kind)

    do_GET = do_POST = do_DELETE = _serve

    def _store(self, body: bytes) -> None:
        content = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        if self.pacs.stored == {}:
            data = read(content)
            self.pacs.series[str(data.SeriesInstanceUID)] = [content]
        answer = b"" if self.pacs.stored is None else json.dumps(self.pacs.stored).encode()
        self._send(200, answer, JSON)

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _multipart(files: list[bytes]) -> bytes:
    parts = (
        b"--" + BOUNDARY.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n"
        for content in files
    )
    return b"".join(parts) + b"--" + BOUNDARY.encode() + b"--\r\n"
