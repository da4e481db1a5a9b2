"""scripts/learn.py: learning from a studies folder without a server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from server_studies import phantom, write_nifti

from slmsam2.training.registry import Registry
from small_model import MODEL, write_small_model

pytestmark = pytest.mark.server

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def model_dir(tmp_path):
    """A small network, and a preset of four steps."""
    folder = tmp_path / "model"
    write_small_model(folder)
    preset = yaml.safe_load((REPOSITORY / "model" / "configs" / "learn_small.yaml").read_text())
    preset["steps"], preset["evaluations"] = {"least": 4, "per_structure": 1, "most": 4}, 1
    (folder / "configs" / "learn_small.yaml").write_text(yaml.safe_dump(preset))
    return folder


@pytest.fixture
def learn(model_dir):
    def run(*options):
        command = [sys.executable, "scripts/learn.py", "--model", MODEL, "--model-dir", model_dir, *options]
        env = dict(os.environ, OMP_NUM_THREADS="1")
        return subprocess.run(
            list(map(str, command)), cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=300
        )

    return run


def test_learns_from_a_folder(learn, model_dir, tmp_path):
    image, label = phantom()
    studies = tmp_path / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    for number in range(3):
        write_nifti(studies / f"case{number}.nii.gz", image + number)
        write_nifti(studies / "labels" / "final" / f"case{number}.nii.gz", label)
    # as the server: what a link leads to is not served, and so not learnt from
    write_nifti(tmp_path / "elsewhere.nii.gz", image)
    (studies / "linked.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    write_nifti(studies / "labels" / "final" / "linked.nii.gz", label)
    first = learn("--studies", studies)
    assert first.returncode == 0, first.stderr
    assert "Learning structure_1, structure_2 from 2 volumes" in first.stderr
    assert "On what was held back it is" in first.stderr
    registry = Registry(MODEL, model_dir)
    assert registry.count == 1
    assert sum(registry.held_back.values()) == 1
    if registry.published:
        assert "Nothing new" in learn("--studies", studies).stderr


def test_a_missing_folder_is_named(learn, tmp_path):
    outcome = learn("--studies", tmp_path / "nowhere")
    assert outcome.returncode == 2
    assert "there is no folder" in outcome.stderr
