"""Archives that would fill the disk; those that would write elsewhere are tried in tests/server/test_escapes.py."""

import errno
import gzip
import io
import tarfile
import tempfile
import tracemalloc
import zipfile

import pytest

from slmsam2.errors import VolumeError
from slmsam2.server.routes import unpacking as archives
from slmsam2.server.routes.unpacking import unpack, unzip
from slmsam2.server.running.shortage import is_full_disk

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


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.nii", "a.nii"), ("a.nii", "a.nii/b.nii"), ("a/b.nii", "a")])
def test_a_name_twice_is_said_without_the_servers_own_paths(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as opened:
        for name in names:
            opened.writestr(name, b"1")
    with pytest.raises(VolumeError, match=r"two files of one name|cannot be unpacked") as raised:
        unpack(tmp_path / "x.zip", tmp_path / "out", 1000)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_full_disk_is_no_fault_of_the_archive(tmp_path, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = make(tmp_path / name, [400])
    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space") as raised:
        unpack(archive, tmp_path / "out", 1000)
    assert is_full_disk(raised.value)


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


MB = 2**20
FILLER = 30 * MB
COMPRESSED = ["w:gz", "w:bz2", "w:xz"]


def taken(work):
    """Bytes of memory that refused work took at its peak, and the sentence."""
    tracemalloc.start()
    try:
        with pytest.raises(VolumeError) as caught:
            work()
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def tar_of(path, *members, mode="w:gz"):
    """A tar archive with members (info, content), written as they are."""
    with tarfile.open(path, mode) as opened:
        for info, content in members:
            opened.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
            opened.fileobj.write(content + bytes(-len(content) % 512))
            opened.offset = opened.fileobj.tell()
    return path


def member(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


@pytest.mark.parametrize("mode", COMPRESSED)
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_hundreds_of_megabytes_is_not_read(tmp_path, kind, mode):
    record = b"%d comment=" % FILLER
    header = record + b"a" * (FILLER - len(record) - 1) + b"\n"
    file = (member("x.dcm", 1), b"1")
    archive = tar_of(tmp_path / "x.tar.gz", (member("header", FILLER, kind), header), file, mode=mode)
    assert archive.stat().st_size < MB
    peak, sentence = taken(lambda: unpack(archive, tmp_path / "out", MB))
    assert (peak < 15 * MB, "header" in sentence) == (True, True)


@pytest.mark.parametrize("mode", ["w", *COMPRESSED])
def test_long_names_are_unpacked(tmp_path, mode):
    name = "/".join(["a folder of a study with a long name"] * 8) + "/ä.dcm"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        archive = tmp_path / f"{form}.tar"
        with tarfile.open(archive, mode, format=form) as opened:
            opened.addfile(member(name, 3), io.BytesIO(b"123"))
        assert unpack(archive, tmp_path / f"out{form}", 3) == 1
        assert (tmp_path / f"out{form}" / name).read_bytes() == b"123"


def test_headers_of_many_files_are_not_kept(tmp_path):
    """A header for all files is copied into each file's own facts."""
    records = b"".join(b"%d %06d=x\n" % (12, number) for number in range(20_000))
    own = b"9 a=bcde\n"
    files = [(member(f"{n}.dcm", 1), b"1") for n in range(60)]
    headers = [(member("own", len(own), tarfile.XHDTYPE), own)] * 60
    members = [each for pair in zip(headers, files, strict=True) for each in pair]
    archive = tar_of(tmp_path / "x.tar.gz", (member("all", len(records), tarfile.XGLTYPE), records), *members)
    tracemalloc.start()
    try:
        assert unpack(archive, tmp_path / "out", 60) == 60
        assert tracemalloc.get_traced_memory()[1] < 25 * MB
    finally:
        tracemalloc.stop()


def test_folders_count_as_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    folders = [(member(f"{n}", 0, tarfile.DIRTYPE), b"") for n in range(4)]
    with pytest.raises(VolumeError, match="3 files"):
        unpack(tar_of(tmp_path / "x.tar.gz", *folders), tmp_path / "out", 1000)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE])
def test_sizes_below_nothing_are_refused(tmp_path, kind):
    first = (member("x.dcm", 1), b"1")
    archive = tar_of(tmp_path / "x.tar.gz", first, (member("y.dcm", -1024, kind), b""), first)
    with pytest.raises(VolumeError):
        unpack(archive, tmp_path / "out", 1000)


def test_a_list_of_files_of_many_megabytes_is_not_read(tmp_path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for number in range(40_000):
            opened.writestr(f"{number:0200}", b"")
    peak, sentence = taken(lambda: unpack(archive, tmp_path / "out", 1000))
    assert (peak < 10 * MB, "header" in sentence) == (True, True)


def test_zips_that_unpack_in_one_go_are_refused(tmp_path):
    """64 kB of bzip2 may hold more than 1 GB, and Python unpacks them at once."""
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as opened:
        opened.writestr("x.dcm", bytes(FILLER))
    assert archive.stat().st_size < 1000
    peak, sentence = taken(lambda: unpack(archive, tmp_path / "out", 2 * FILLER))
    assert (peak < 10 * MB, "plain .zip" in sentence) == (True, True)


def test_a_gzip_file_holds_no_more_than_is_allowed():
    packed, whole = gzip.compress(bytes(1000)), io.BytesIO()
    with tempfile.SpooledTemporaryFile() as upload:  # as FastAPI gives it: open for writing, too
        upload.write(packed)
        upload.seek(0)
        unzip(upload, whole, 1000)
    assert whole.getvalue() == bytes(1000)
    for content, most in ((packed, 999), (packed[:-9], 1000), (b"text", 1000)):
        with pytest.raises(VolumeError, match=r"\.$"):
            unzip(io.BytesIO(content), io.BytesIO(), most)
