"""Who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slmsam2

pytestmark = pytest.mark.unit

LIBRARY = Path(slmsam2.__file__).parent
# what pre-training may rely on, beside the standard library: it must run where little is installed
PRETRAINING_NEEDS_NONE_OF = ["nibabel", "SimpleITK", "scipy", "matplotlib", "monai", "monailabel", "pydicom"]


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_only_the_server_knows_monai_label():
    files = [p for p in LIBRARY.rglob("*.py") if "server" not in p.relative_to(LIBRARY).parts]
    assert len(files) > 20
    for path in files:
        roots = {name.split(".")[0] for name in imported(path)}
        assert not roots & {"monailabel", "fastapi", "starlette"}, path
    assert any("monailabel" in name for p in (LIBRARY / "server").glob("*.py") for name in imported(p))


def test_pretraining_needs_little():
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in PRETRAINING_NEEDS_NONE_OF)
    code = f"import sys\n{blocked}import slmsam2.training.pretrain, slmsam2.training.outliner"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(LIBRARY.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
