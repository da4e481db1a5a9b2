"""scripts/models.py: list, go back, export; wrong names get a sentence."""

import importlib.util
from pathlib import Path

import pytest

from slmsam2.modeling import checkpoint_path
from slmsam2.training.registry import Registry, Version

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "models.py"


@pytest.fixture
def models(tmp_path):
    """Runs the script on a registry with two versions."""
    spec = importlib.util.spec_from_file_location("models_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    registry = Registry("small", tmp_path)
    for number, dice in ((1, 0.7), (2, 0.8)):
        name = registry.begin(0.0)
        registry.path(name).parent.mkdir(parents=True, exist_ok=True)
        registry.path(name).write_bytes(name.encode())
        metrics = {"eval": {"before": dice - 0.1, "after": dice}}
        parent = f"learned-{number - 1}" if number > 1 else None
        registry.publish(Version(name, parent, 0.0, {"a": "digest"}, ["liver", "spleen"], metrics))
    return lambda *args: script.main(["--model", "small", "--model-dir", str(tmp_path), *map(str, args)])


def test_list(models, capsys):
    assert models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  base")
    assert lines[2].split()[:1] == ["learned-1"]
    assert lines[3].split()[:2] == ["*", "learned-2"]
    assert "0.700  0.800  liver, spleen" in lines[3]


def test_rollback(models, capsys, tmp_path):
    assert models("rollback", "learned-1") == 0
    assert checkpoint_path("small", tmp_path).read_bytes() == b"learned-1"
    assert models("rollback", "learned-7") == 2
    assert "Known: learned-1, learned-2, base" in capsys.readouterr().err
    assert models("rollback", "base") == 0
    assert checkpoint_path("small", tmp_path).name == "small.pt"


def test_export(models, capsys, tmp_path):
    assert models("export", "learned-2", "--output", tmp_path / "out" / "team.pt") == 0
    assert (tmp_path / "out" / "team.pt").read_bytes() == b"learned-2"
    assert models("export", "learned-9", "--output", tmp_path / "x.pt") == 2
    assert "base, learned-1, learned-2" in capsys.readouterr().err
