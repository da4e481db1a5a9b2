"""A server as users start it, for scripts that show or measure it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

REPOSITORY = Path(__file__).resolve().parents[1]
START_LIMIT = 180  # seconds


class ServerError(Exception):
    """The server did not do its part; the message says what happened and where to look."""


@contextmanager
def running_server(studies: Path, model: str, log: Path, **conf: object) -> Iterator[str]:
    """The server as users start it, on a free port of this machine; its URL. Stopped whatever happens.

    To be used in the main thread.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["monailabel", "start_server", "--app", "apps/slmsam2", "--studies", str(studies)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--conf", "model", model]
    command += [text for name, value in conf.items() for text in ("--conf", name, str(value))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    print(f"Starting the server (10 to 60 s): {' '.join(command)}", flush=True)
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"PATH": path},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    before = signal.signal(signal.SIGTERM, _leave)  # else SIGTERM ends this process alone
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield url
    except MONAILabelClientException as error:
        raise ServerError(f"the server answered: {error.msg}\nIts log: {log}") from error
    except ConnectionError as error:
        raise ServerError(f"the connection to the server broke ({error}).\n{end_of(log)}") from error
    finally:
        stop(process)
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)  # as shells count


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the server answers /info/.

    Raises:
        ServerError: it ended, or took too long; with the end of its log.
    """
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"the server ended while starting (exit code {process.returncode}).\n{end_of(log)}"
            )
        try:
            MONAILabelClient(url).info()
            return
        except ConnectionError:
            time.sleep(0.5)
    raise ServerError(f"the server did not answer within {START_LIMIT} s.\n{end_of(log)}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and what it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, how)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                continue


def end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-20:]
    return "\n".join([f"The end of {log}:", *lines])
