"""Archives that would fill the disk; those that would write elsewhere are tried in tests/server/test_escapes.py."""

import io
import tarfile
import zipfile

import pytest

from slmsam2.errors import VolumeError
from slmsam2.server import archives
from slmsam2.server.archives import unpack

pytestmark = pytest.mark.unit


def make(path, sizes):
    """An archive with files of zeros, of these sizes."""
    contents = {f"folder/{number}.dcm": bytes(size) for number, size in enumerate(sizes)}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in contents.items():
                opened.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as opened:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_up_to_the_bound(tmp_path, name):
    archive = make(tmp_path / name, [400, 600])
    assert unpack(archive, tmp_path / "out", 1000) == 2
    assert (tmp_path / "out" / "folder" / "1.dcm").stat().st_size == 600
    with pytest.raises(VolumeError, match="too large"):
        unpack(archive, tmp_path / "again", 999)


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_bomb_writes_nothing(tmp_path, name):
    archive = make(tmp_path / name, [50_000_000])
    assert archive.stat().st_size < 60_000
    with pytest.raises(VolumeError, match="too large"):
        unpack(archive, tmp_path / "out", 1_000_000)
    assert not (tmp_path / "out").exists()


def test_a_zip_that_says_less_than_it_holds(tmp_path):
    archive = make(tmp_path / "x.zip", [5_000_000])
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(VolumeError):
        unpack(archive, tmp_path / "out", 1000)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 10


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(VolumeError, match="3 files"):
        unpack(make(tmp_path / "x.zip", [1] * 4), tmp_path / "out", 1000)
