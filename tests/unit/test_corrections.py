"""What counts as a correction of a proposal, and what the server remembers."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from slmsam2.prompts import (
    Known,
    Marks,
    chosen_in,
    corrected_in,
    corrected_planes,
    marked_across,
    painted_in,
    with_marks,
    without_marks,
)
from slmsam2.server.memory.masks import bits_of
from slmsam2.server.memory.steps import MOST_STEPS, Key, Memory
from slmsam2.volume import Exemplar, SliceView, Volume

pytestmark = pytest.mark.unit

SHAPE = (10, 12, 14)
NOWHERE = np.zeros(SHAPE, bool)


@pytest.fixture
def returned():
    """A block on the slices 2 to 7."""
    mask = NOWHERE.copy()
    mask[2:8, 3:9, 4:10] = True
    return mask


@pytest.fixture
def known(returned):
    given = NOWHERE.copy()
    given[4] = returned[4]
    return Known(2, given, returned, {4: returned[4]}, (0, 12, 0, 14), (40.0, 400.0))


def test_slices_that_differ_are_corrections(returned):
    came = returned.copy()
    came[5, 3, 4] = False
    came[7] = False
    came[9, 0, 0] = True
    assert corrected_planes(came, NOWHERE, returned) == {0: [5, 7, 9]}
    assert corrected_planes(returned, NOWHERE, returned) == {0: []}


def test_when_most_slices_differ_it_is_a_new_beginning(returned):
    came = NOWHERE.copy()
    came[4] = returned[4]
    assert corrected_planes(came, NOWHERE, returned) is None
    came[3, 0, 0] = True
    assert list(painted_in(came).slices) == [3, 4]


def test_what_is_painted_over_is_no_correction(returned, known):
    came, hidden = returned.copy(), NOWHERE.copy()
    came[5, 3:5] = False
    hidden[5, 3:5] = True
    assert corrected_planes(came, hidden, returned) == {0: []}
    came[5, 8, 9] = False
    prompts = corrected_in(came, hidden, known, {0: [5]}).slices
    assert list(prompts) == [4, 5]
    assert prompts[5][3, 4]  # under what lies over it, it is as it was
    assert not prompts[5][8, 9]


def test_earlier_prompts_stay_and_later_ones_replace_them(returned, known):
    came = returned.copy()
    came[4, 3] = False
    came[6] = False
    prompts = corrected_in(came, NOWHERE, known, {0: [4, 6]}).slices
    assert list(prompts) == [4, 6]
    np.testing.assert_array_equal(prompts[4], came[4])
    assert not prompts[6].any()


def test_when_the_only_painted_slice_is_erased_the_rest_counts(returned, known):
    came = returned.copy()
    came[4] = False
    prompts = corrected_in(came, NOWHERE, known, {0: [4]}).slices
    assert sorted(prompts) == [2, 3, 4, 5, 6, 7]
    assert not prompts[4].any()


def test_named_slices_and_nothing_else(returned):
    prompts = chosen_in(returned, {0: [9, 3]}).slices
    assert list(prompts) == [3, 9]
    assert not prompts[9].any()


def test_all_that_is_painted(returned):
    assert list(painted_in(returned).slices) == [2, 3, 4, 5, 6, 7]


def test_marks_correct_the_mask_under_them(returned):
    stroke = np.zeros(SHAPE[1:], bool)
    stroke[5, 5] = True
    marks = Marks(stroke, np.zeros_like(stroke))
    prompts = with_marks({4: returned[4], 6: NOWHERE[6]}, {4: marks, 6: marks, 8: marks})
    assert [prompts[s].base is None for s in (4, 6, 8)] == [False, True, True]
    again = with_marks(prompts, {4: Marks(np.zeros_like(stroke), stroke)})
    np.testing.assert_array_equal(again[4].base, returned[4])
    assert not again[4].inside.any()
    assert list(without_marks(prompts)) == [4]


def test_memory_under_an_images_new_name(known):
    memory = Memory()
    for client in ("me", "you"):
        memory.remember(Key("0a1b", client, "liver"), known)
    memory.move("me", "0a1b", "ct 2")
    np.testing.assert_array_equal(memory.recall(Key("ct 2", "me", "liver")).returned, known.returned)
    assert memory.recall(Key("0a1b", "me", "liver")) is None
    assert memory.recall(Key("0a1b", "you", "liver")) is not None
    assert memory.recall(Key("ct 2", "you", "liver")) is None


def test_memory_gives_back_what_it_was_given(known):
    memory, key = Memory(), Key("ct 1", "me", "liver")
    memory.remember(key, known)
    back = memory.recall(key)
    np.testing.assert_array_equal(back.returned, known.returned)
    np.testing.assert_array_equal(back.given, known.given)
    np.testing.assert_array_equal(back.prompts[4], known.prompts[4])
    assert (back.axis, back.region, back.window) == (2, (0, 12, 0, 14), (40.0, 400.0))
    for other in (Key("ct 1", "you", "liver"), Key("ct 2", "me", "liver"), Key("ct 1", "me", "spleen")):
        assert memory.recall(other) is None
    memory.forget(key)
    assert memory.recall(key) is None


def test_memory_shares_what_is_known_of_other_volumes(known):
    exemplar = Exemplar(np.full((48, 48, 48), 255, np.uint8), (1.0, 1.0, 1.0))
    memory, key = Memory(), Key("ct", "me", "liver")
    memory.remember(key, replace(known, exemplars=(exemplar,)))
    assert memory.recall(key).exemplars[0] is exemplar
    alone = Memory()
    alone.remember(key, known)
    assert memory.bytes == pytest.approx(alone.bytes, abs=20)


def test_memory_is_bounded_in_time_and_size(known):
    now = [0.0]
    memory = Memory(most_seconds=10, clock=lambda: now[0])
    one, other = Key("ct", "me", "liver"), Key("ct", "me", "spleen")
    memory.remember(one, known)
    now[0] = 6.0
    memory.remember(other, known)
    now[0] = 11.0
    assert memory.recall(one) is None
    assert memory.recall(other) is not None
    size = memory.bytes
    small = Memory(most_bytes=int(2.5 * size))
    for number in range(5):
        small.remember(Key("ct", "me", str(number)), known)
    assert len(small) == 2
    assert small.bytes <= 2.5 * size
    assert small.recall(Key("ct", "me", "4")) is not None


def test_undo_goes_back_step_by_step(known):
    memory, key = Memory(), Key("ct", "me", "liver")
    assert memory.undo(key) is None
    later = Known(2, known.returned, np.roll(known.returned, 1), {4: known.returned[4]})
    memory.remember(key, known)
    memory.remember(key, later)
    np.testing.assert_array_equal(memory.undo(key).mask, known.returned)
    np.testing.assert_array_equal(memory.recall(key).returned, known.returned)
    np.testing.assert_array_equal(memory.undo(key).mask, known.given)
    assert memory.undo(key) is None
    for number in range(MOST_STEPS + 5):
        memory.remember(key, replace(known, returned=np.roll(known.returned, number)))
    assert sum(memory.undo(key) is not None for _ in range(MOST_STEPS + 5)) == MOST_STEPS


def test_a_step_along_another_axis_is_taken_back_along_its_own():
    image = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4))
    views = [SliceView(image.shape, image.affine, axis) for axis in (2, 0)]
    painted, first, second = (np.zeros(image.shape, bool) for _ in range(3))
    painted[1, 1:3, 3], first[1, 1:3, 2:], second[2, 3, 0] = True, True, True
    memory, key = Memory(), Key("ct", "me", "liver")
    for view, came, sent in ((views[0], painted, first), (views[1], first, second)):
        memory.remember(key, Known(view.axis, view.to_stack(came), view.to_stack(sent)))
    label = np.where(second, 1, 0).astype(np.uint8)
    label[1, 2, 3] = 7  # what is another structure's by now stays
    for expected in (first, painted):
        memory.undo(key).put_back(label, 1, image)
        np.testing.assert_array_equal(label == 1, expected & (label != 7))
        assert label[1, 2, 3] == 7


def test_a_request_that_changes_nothing_is_no_step(known):
    memory, key = Memory(), Key("ct", "me", "liver")
    stroke = np.zeros(SHAPE[1:], bool)
    stroke[5, 5] = True
    marked = replace(known, prompts={4: known.prompts[4], 6: Marks(stroke, ~stroke)})
    again = replace(marked, given=marked.returned, version="newer")
    for step in (known, marked, again, replace(again, prompts=dict(again.prompts))):
        memory.remember(key, step)
    assert memory.recall(key).version == "newer"
    np.testing.assert_array_equal(memory.undo(key).mask, known.returned)
    np.testing.assert_array_equal(memory.undo(key).mask, known.given)
    assert memory.undo(key) is None


@pytest.mark.parametrize("part", ["returned", "prompts", "axis"])
def test_a_request_that_changes_anything_is_a_step(known, part):
    memory, key = Memory(), Key("ct", "me", "liver")
    changed = {
        "returned": np.roll(known.returned, 1),
        "prompts": {4: known.prompts[4], 6: NOWHERE[6]},
        "axis": 1,
    }
    memory.remember(key, known)
    memory.remember(key, replace(known, **{part: changed[part]}))
    np.testing.assert_array_equal(memory.undo(key).mask, known.returned)
    assert memory.undo(key) is not None


def test_what_is_kept_can_be_asked_for_while_it_changes():
    memory, asked, ended, wrong = Memory(), threading.Event(), threading.Event(), []
    nothing = np.zeros((1, 1, 1), bool)
    known = Known(axis=2, given=nothing, returned=nothing)

    def ask():
        while not ended.is_set():
            try:
                assert memory.bytes >= 0
            except RuntimeError as error:
                wrong.append(error)
            asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        asked.wait()
        for number in range(1500):
            memory.remember(Key("ct 1", "me", str(number % 400)), known)
    finally:
        ended.set()
        thread.join()
    assert wrong == []


def test_marks_on_a_plane_that_was_given_change_it_there():
    row, column = np.zeros((10, 14), bool), np.zeros((10, 12), bool)
    row[4, 5:8] = True
    inside, outside = np.zeros((2, *SHAPE[1:]), bool)
    inside[3, 9] = outside[3, 5] = outside[6, 2] = inside[4, 4] = True
    marked = marked_across({1: {3: row}, 2: {9: column}}, {4: Marks(inside, outside)})
    assert np.argwhere(marked[1][3]).tolist() == [[4, 6], [4, 7], [4, 9]]
    assert np.argwhere(marked[2][9]).tolist() == [[4, 3]]
    assert (row.sum(), column.sum()) == (3, 0)


def test_the_step_that_something_differs_least_from_is_recalled(returned, known):
    memory, key = Memory(), Key("ct 1", "me", "liver")
    for slices in ((2, 8), (2, 7), (2, 6), (2, 7)):
        later = NOWHERE.copy()
        later[slice(*slices)] = returned[slice(*slices)]
        memory.remember(key, replace(known, returned=later, region=(*slices, 0, 14)))
    shown = returned.copy()
    shown[3, 3, 4:6] = False

    def recalled(mask, counted=~NOWHERE):
        def unlike(axis, packed):
            assert axis == 2
            return packed.count_differing(*(bits_of(each, packed.order) for each in (mask, counted)))

        return memory.recall(key, unlike).region

    assert recalled(shown) == (2, 8, 0, 14)
    shown[6:8] = False
    assert recalled(shown) == (2, 6, 0, 14)
    counted = ~NOWHERE
    counted[6:8] = False
    assert recalled(returned, counted) == (2, 7, 0, 14)  # the newest of equals
    assert memory.recall(key).region == (2, 7, 0, 14)
