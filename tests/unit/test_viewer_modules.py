"""The viewer's JavaScript modules, by Node's own test runner (tests/ohif)."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).resolve().parents[2]
OLDEST_NODE = 18


def node():
    """Path of Node; skips where there is none that has a test runner."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed: apt-get install nodejs")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"Node {version.strip()} has no test runner: {OLDEST_NODE} or newer is needed")
    return found


def test_modules_by_node():
    files = sorted(map(str, (REPOSITORY / "tests" / "ohif").glob("*.test.mjs")))
    run = subprocess.run([node(), "--test", *files], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout[-5000:]
    assert f"# tests {run.stdout.count('# Subtest: ')}" in run.stdout
