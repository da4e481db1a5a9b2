"""The files in `deploy/` fit the app: its settings, its bounds, its files."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from slmsam2.server.configuration import Configuration

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
IN_MB = {"m": 1, "g": 1000}


@pytest.mark.parametrize("file", ["slmsam2@.service", "slmsam2.conf", "Containerfile"])
def test_settings_exist(file):
    words = re.sub(r'[",\\]', " ", (DEPLOY / file).read_text())
    named = re.findall(r"--conf\s+(\w+)", words)
    assert named
    assert set(named) <= {field.name for field in fields(Configuration)}


def test_the_proxy_lets_the_server_answer_first():
    site = (DEPLOY / "nginx.conf").read_text()
    size, unit = re.search(r"client_max_body_size (\d+)([mg]);", site).groups()
    assert int(size) * IN_MB[unit] * 1.048 >= Configuration.most_megabytes
    assert int(re.search(r"proxy_read_timeout (\d+)s;", site)[1]) > Configuration.most_seconds


def test_each_server_has_a_log_of_its_own():
    unit = (DEPLOY / "slmsam2@.service").read_text()
    (folder,) = re.findall(r"LogsDirectory=(.+)", unit)
    assert "%i" in folder
    assert f"BindPaths=/var/log/{folder}:/opt/slmsam2/apps/slmsam2/logs\n" in unit


def test_what_the_container_copies_is_there():
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    sources = [source for line in lines if line.startswith("COPY ") for source in shlex.split(line)[1:-1]]
    assert len(sources) > 6
    sent = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in sent


def test_the_guide_names_files_that_are_there():
    guide = (REPOSITORY / "docs" / "deployment.md").read_text()
    for name in set(re.findall(r"(?:deploy|scripts)/[\w@.]+\w", guide)):
        assert (REPOSITORY / name).exists()
