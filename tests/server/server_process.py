"""Starting a real server, and what it leaves behind."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests

REPOSITORY = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def running_server(base, studies, *options, sessions=None, script=None, **environment):
    """A server of one's own on these studies.

    ``base`` is a folder for what it writes, the model's among them unless ``options`` name another one, ``sessions``
    another one for sessions; ``script`` is a start.sh to use.
    """
    if "model_dir" not in options:
        (base / "model").mkdir(exist_ok=True)
        options = (*options, "--conf", "model_dir", base / "model")
    temporary = base / "tmp"
    temporary.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bin_folder = Path(sys.executable).parent
    env = dict(
        os.environ,
        PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        TMPDIR=str(temporary),
        MONAI_LABEL_SESSION_PATH=str(sessions or base / "sessions"),
        **environment,
    )
    command = [str(bin_folder / "monailabel"), "start_server", "--app", "apps/slmsam2"]
    command = [*command, "--studies", str(studies), "--host", "127.0.0.1"]
    if script is not None:
        command = ["bash", str(script), str(studies)]
    log = base / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port), *map(str, options)],
            cwd=REPOSITORY,
            env=env,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(url, process, log)
        yield Server(url, studies, temporary, log, process)
    finally:
        jobs = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for job in jobs:
            with contextlib.suppress(psutil.NoSuchProcess):
                job.kill()


class Server:
    def __init__(self, url, studies, temporary, log, process):
        self.url, self.studies, self.temporary, self.log = url, studies, temporary, log
        self.process = process

    def kill(self):
        """Every process of the server, with SIGKILL."""
        process = psutil.Process(self.process.pid)
        process.suspend()  # it starts no further one meanwhile
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def left_behind(self, seconds=5):
        """Uploads and results that stay in the server's temporary folder; they go just after the reply."""
        end = time.monotonic() + seconds
        while (left := self._files()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def _files(self):
        return [
            p.name for p in self.temporary.rglob("*") if re.search(r"\.(nii|gz|nrrd|raw|bin|mha)$", p.name)
        ]


def wait_until_up(url, process, log, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended: {log.read_text()[-3000:]}"
        try:
            requests.get(f"{url}/info/", timeout=10)  # any answer: one may need a token
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no answer from the server: {log.read_text()[-3000:]}")
