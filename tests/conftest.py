"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from slmsam2.volume import Volume


class FileByFile(LoadScopeScheduling):
    """Gives workers whole files of tests, and all that need the one PACS to the same worker."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config, log):
    return FileByFile(config, log)


def pytest_terminal_summary(terminalreporter):
    """Prints the figures that tests told (``tell``), whichever worker they ran in."""
    reports = [
        report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])
    ]
    figures = [line for report in reports for name, line in report.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real volumes and the parity data, which is not part of the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is missing: its real volumes and parity data are needed here")
    return folder


@pytest.fixture
def numbered_volume() -> Volume:
    """(6, 5, 4) int16, every voxel another value, axial and slightly oblique, 1 x 2 x 3 mm."""
    turn = np.deg2rad(10)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * [1.0, 2.0, 3.0]
    affine[:3, 3] = [-7.0, 11.0, 30.0]
    return Volume(np.arange(120, dtype=np.int16).reshape(6, 5, 4), affine)


@pytest.fixture
def ball_volume() -> Volume:
    """(24, 20, 16) int16, a bright ball of radius 6 voxels in noise, 1 mm, RAS."""
    centre = np.array([11, 9, 8])
    distance = np.linalg.norm(np.indices((24, 20, 16)).T - centre, axis=-1).T
    noise = np.random.default_rng(0).normal(100, 10, distance.shape)
    return Volume((noise + 400 * (distance <= 6)).astype(np.int16), np.eye(4))
