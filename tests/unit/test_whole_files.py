"""Files that libraries write by their name: whole or not at all; and files known by what they hold."""

from pathlib import Path

import pytest

from slmsam2.files import content_of, is_temporary, remove_temporary, staged_path

pytestmark = pytest.mark.unit


def test_it_is_there_at_the_end_and_nothing_else(tmp_path):
    path = tmp_path / ("a" * 240 + ".nii.gz")
    path.write_text("before")
    with staged_path(path, ".nii.gz") as temporary:
        assert is_temporary(temporary)
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("before")

    def write():
        with staged_path(path) as temporary:
            temporary.write_text("hal")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_known_by_its_name(tmp_path):
    kept = [tmp_path / name for name in (".hidden.png", "label.nii.gz", ".a.b-c.png")]
    for path in (*kept, tmp_path / ".0123456789abcdef.12-345.nii.gz", tmp_path / ".0123456789abcdef.12-345"):
        path.touch()
    remove_temporary(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_content_is_known_under_every_name_and_read_once(tmp_path, monkeypatch):
    for folder, names in (("one", "ab"), ("other", "cd")):
        (tmp_path / folder / "more").mkdir(parents=True)
        (tmp_path / folder / names[0]).write_bytes(b"first")
        (tmp_path / folder / "more" / names[1]).write_bytes(b"second")
    read, opened = Path.open, []
    monkeypatch.setattr(
        Path, "open", lambda path, *args, **how: opened.append(path.name) or read(path, *args, **how)
    )
    known = content_of(tmp_path / "one")
    assert content_of(tmp_path / "one") == known == content_of(tmp_path / "other")
    assert sorted(opened) == list("abcd")
    (tmp_path / "one" / "a").write_text("changed")
    assert content_of(tmp_path / "one") != known
    assert content_of(tmp_path / "one" / "more" / "b") == content_of(tmp_path / "other" / "more" / "d")
