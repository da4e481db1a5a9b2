"""The demo, as a newcomer runs it: real server, stock client, bundled CT."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).resolve().parents[2]


def test_demo_runs_to_its_end(tmp_path):
    command = [sys.executable, str(REPOSITORY / "scripts" / "demo.py"), "--output", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert run.returncode == 0, run.stderr
    scores = {score["structure"]: score for score in json.loads((tmp_path / "scores.json").read_text())}
    assert list(scores) == ["liver", "spleen", "kidney_right"]
    for name, score in scores.items():
        assert name in run.stdout
        assert (tmp_path / f"{name}.nii.gz").is_file()
        # it follows what it sees: better than the painted slice copied, even onto the true slices only
        assert score["dice"] > score["dice_repeated_in_extent"], score
        assert score["seconds_per_slice"] > 0
    assert (tmp_path / "contact_sheet.png").stat().st_size > 50_000
