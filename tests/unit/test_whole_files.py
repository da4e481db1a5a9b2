"""Files that libraries write by their name: whole or not at all."""

import pytest

from slmsam2.files import is_temporary, remove_temporary, staged_path

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
