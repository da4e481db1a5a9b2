"""The server of scripts that show or measure it ends with them."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# instead of a server, something that only waits
WAITING = """
import pathlib, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
import local_server
start = subprocess.Popen
local_server.subprocess.Popen = lambda command, **how: start(["sleep", "60"], start_new_session=True)
local_server.wait_for = lambda url, process, log: print(process.pid, flush=True)
with local_server.running_server(pathlib.Path("."), "model", pathlib.Path(sys.argv[2])):
    time.sleep(60)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_script_that_is_told_to_end_takes_its_server_along(tmp_path, how):
    command = [sys.executable, "-c", WAITING, str(SCRIPTS), str(tmp_path / "log")]
    told = functools.partial(
        signal.signal, how, signal.SIG_DFL
    )  # programs in the background may ignore SIGINT
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=told
    ) as script:
        script.stdout.readline()  # what is started
        server = int(script.stdout.readline())
        assert is_running(server)
        os.kill(script.pid, how)
        assert script.wait(30) != 0
    deadline = time.monotonic() + 10
    while is_running(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(server)
