"""Sessions that a crash left unfinished."""

import errno
import os
import time
from types import SimpleNamespace

import pytest
from monailabel.interfaces.app import MONAILabelApp

from slmsam2.server.datastore.kept_sessions import KeptSessions

pytestmark = pytest.mark.unit


@pytest.fixture
def sessions(tmp_path):
    return KeptSessions(str(tmp_path / "sessions"), 3600)


def add(sessions, folder, name="image.nii.gz"):
    (folder / name).write_bytes(b"image")
    return sessions.add_session(str(folder / name))[0]


def test_kept_over_a_restart(sessions, tmp_path):
    session = add(sessions, tmp_path)
    again = KeptSessions(sessions.store_path, 3600).get_session(session)
    assert again.image.endswith("image.nii.gz")
    assert [p.name for p in (tmp_path / "sessions" / session).iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("meta", [None, "", '{"name": "x", "pa'])
def test_never_finished(sessions, tmp_path, meta):
    whole, torn = add(sessions, tmp_path), tmp_path / "sessions" / "torn"
    torn.mkdir()
    if meta is not None:
        (torn / "meta.info").write_text(meta)
    assert sessions.get_session("torn") is None
    assert sessions.remove_expired() == 0  # somebody may be making it
    long_ago = time.time() - 4000
    os.utime(torn, (long_ago, long_ago))
    assert sessions.remove_expired() == 1
    assert not torn.exists()
    assert sessions.get_session(whole) is not None


def test_expired_before_a_restart(sessions, tmp_path, monkeypatch, caplog):
    """Also beside one that may not be read."""
    expired, foreign = (add(sessions, tmp_path) for _ in range(2))
    info = sessions.get_session(expired)
    info.last_access_ts -= 4000
    sessions._write_meta_info(expired, info)
    again = KeptSessions(sessions.store_path, 3600)
    known = again.get_session

    def guarded(session_id, *args, **kwargs):
        if session_id == foreign:
            raise PermissionError(errno.EACCES, "Permission denied")
        return known(session_id, *args, **kwargs)

    monkeypatch.setattr(again, "get_session", guarded)
    MONAILabelApp.cleanup_sessions(SimpleNamespace(_sessions=again))
    assert [folder.name for folder in (tmp_path / "sessions").iterdir()] == [foreign]
    assert "Permission denied" in caplog.text


def test_expired(sessions, tmp_path):
    session = add(sessions, tmp_path)
    info = sessions.get_session(session)
    info.last_access_ts -= 4000
    sessions._write_meta_info(session, info)
    assert sessions.remove_expired() == 1
    assert sessions.get_session(session) is None
