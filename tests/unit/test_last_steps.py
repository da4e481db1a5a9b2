"""Work that outlasts the server: what is written, read again, given up and removed."""

import os
from dataclasses import replace

import numpy as np
import pytest

from slmsam2.prompts import Known, Marks
from slmsam2.server.memory.last_steps import LastSteps
from slmsam2.server.memory.steps import Key, Memory

pytestmark = pytest.mark.unit

SHAPE = (6, 8, 9)
KEY = Key("ct 1", "me", "liver")


@pytest.fixture
def known():
    returned = np.zeros(SHAPE, bool)
    returned[1:5, 2:6, 3:7] = True
    given = np.zeros(SHAPE, bool)
    given[2] = returned[2]
    click = np.zeros(SHAPE[1:], bool)
    click[3, 4] = True
    marks = Marks(click, np.roll(click, 2), (1.0, 2.0, 6.5, 7.0), returned[3], (3, 4), loose=True)
    clicked = Marks(click, np.zeros_like(click))
    prompts = {2: returned[2], 3: marks, 4: clicked, 5: np.zeros(SHAPE[1:], bool)}
    across = {1: {4: returned[:, 4], 7: returned[:, 7]}, 2: {5: returned[:, :, 5]}}
    return Known(
        1, given, returned, prompts, (0, 8, 1, 9), (40.0, 400.5), "nano-1", plain=True, across=across
    )


def same(one, other):
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, Marks):
        return all(same(getattr(one, name), getattr(other, name)) for name in vars(one))
    return one == other and type(one) is type(other)


def test_another_server_goes_on_where_one_was(known, tmp_path):
    Memory(folder=tmp_path).remember(KEY, known)
    back = Memory(folder=tmp_path).recall(KEY)
    assert (back.restored, back.version, back.looks, back.exemplars) == (True, "", None, ())
    for name in ("axis", "given", "returned", "region", "window", "plain"):
        assert same(getattr(known, name), getattr(back, name)), name
    assert list(back.prompts) == [2, 3, 4, 5]
    assert all(same(known.prompts[index], back.prompts[index]) for index in known.prompts)
    assert {along: list(planes) for along, planes in back.across.items()} == {1: [4, 7], 2: [5]}
    assert same(back.across[1][4], known.across[1][4])
    assert Memory(folder=tmp_path).recall(Key("ct 1", "somebody else", "liver")) is None
    assert all(b"me" not in path.name.encode() for path in tmp_path.iterdir())


def test_the_newest_step_counts_whichever_server_it_was_made_at(known, tmp_path):
    first, second = (Memory(folder=tmp_path) for _ in range(2))
    first.remember(KEY, known)
    later = Known(1, known.given, np.roll(known.returned, 1, axis=2), known.prompts)
    assert second.recall(KEY) is not None
    second.remember(KEY, later)
    assert same(first.recall(KEY).returned, later.returned)
    assert same(second.undo(KEY).mask, known.returned)
    assert same(first.recall(KEY).returned, known.returned)
    second.forget(KEY)
    assert first.recall(KEY) is None
    assert first.undo(KEY) is None


def test_the_first_step_is_undone_after_a_restart_too(known, tmp_path):
    Memory(folder=tmp_path).remember(KEY, known)
    before = Memory(folder=tmp_path).undo(KEY)
    assert same(before.mask, known.given)
    assert Memory(folder=tmp_path).recall(KEY) is None


def test_what_was_done_on_an_image_moves_with_it(known, tmp_path):
    memory = Memory(folder=tmp_path)
    memory.remember(KEY, known)
    memory.move("me", "ct 1", "saved 2")
    moved = Key("saved 2", "me", "liver")
    for one in (memory, Memory(folder=tmp_path)):
        assert same(one.recall(moved).returned, known.returned)
        assert one.recall(KEY) is None


def test_what_was_done_before_a_restart_moves_with_its_image(known, tmp_path):
    memory = Memory(folder=tmp_path)
    for client in ("me", "you"):
        memory.remember(replace(KEY, client=client), known)
    memory.remember(replace(KEY, structure="spleen"), known)
    again = Memory(folder=tmp_path)
    again.move("me", "ct 1", "saved 2")
    for structure in ("liver", "spleen"):
        assert same(again.recall(Key("saved 2", "me", structure)).returned, known.returned)
        assert again.recall(Key("ct 1", "me", structure)) is None
    assert again.recall(replace(KEY, client="you")) is not None


def test_own_steps_are_not_read_again(known, tmp_path, monkeypatch):
    memory = Memory(folder=tmp_path)
    memory.remember(KEY, known)
    monkeypatch.setattr(LastSteps, "read", lambda *_: pytest.fail("it was read"))
    assert memory.recall(KEY).version == "nano-1"


@pytest.mark.parametrize(
    "spoil", [lambda whole: b"", lambda whole: whole[:-40], lambda whole: b"x" + whole[1:]]
)
def test_a_damaged_file_is_passed_over(known, tmp_path, spoil):
    Memory(folder=tmp_path).remember(KEY, known)
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    memory = Memory(folder=tmp_path)
    assert memory.recall(KEY) is None
    memory.remember(KEY, known)
    assert Memory(folder=tmp_path).recall(KEY) is not None


def test_of_a_full_disk_the_work_goes_on_in_memory(known, tmp_path):
    (tmp_path / "file").write_text("")
    memory = Memory(folder=tmp_path / "file" / "work")
    memory.remember(KEY, known)
    assert same(memory.recall(KEY).returned, known.returned)
    assert memory.undo(KEY) is not None


def test_files_are_bounded_in_time_and_size(known, tmp_path):
    now = [1e9]
    steps = LastSteps(tmp_path, most_bytes=10**6, most_seconds=100, clock=lambda: now[0])
    for number, name in enumerate(("old", "new")):
        steps.write(known, name, "me", "liver")
        (path,) = (p for p in tmp_path.iterdir() if p.stat().st_mtime > 1e9 + 200)
        os.utime(path, (1e9 + number * 90,) * 2)
    now[0] += 120
    assert [steps.stamp(name, "me", "liver") is not None for name in ("old", "new")] == [False, True]
    size = path.stat().st_size
    LastSteps(tmp_path, int(1.5 * size), 1e9).write(known, "third", "me", "liver")
    assert len(list(tmp_path.iterdir())) == 1
