"""What is kept from training: stable, never trained on, and there for every structure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slmsam2.training.held_back import assign, lessons_and_tasks
from slmsam2.training.labelled import Case, Structure, Submission

pytestmark = pytest.mark.unit


def case(image_id, *names, slices=12):
    areas = np.zeros(20, int)
    areas[4 : 4 + slices] = [10 + 5 * min(i, slices - i) for i in range(slices)]
    structures = {
        name: Structure(name, 1 + i, 2, areas, np.ones(20, bool)) for i, name in enumerate(names or ["liver"])
    }
    return Case(Submission(image_id, Path("image"), Path("label")), f"digest of {image_id}", structures)


def test_no_volume_is_held_back_before_there_are_three():
    assert assign([case("a"), case("b")], {}, {}) == {}


def test_one_of_three_is_held_back_and_never_one_that_was_trained_on():
    cases = [case(name) for name in "abc"]
    for seen in ({"a": "x", "b": "x"}, {"b": "x", "c": "x"}, {"a": "x", "c": "x"}):
        held = assign(cases, {}, seen)
        assert [name for name, is_held in held.items() if is_held] == list({"a", "b", "c"} - seen.keys())


def test_decisions_stay_when_volumes_are_added_or_missing():
    cases = [case(f"v{i}") for i in range(5)]
    first = assign(cases, {}, {})
    assert sum(first.values()) == 1
    more = assign([*cases, *(case(f"w{i}") for i in range(5))], first, {})
    assert sum(more.values()) == 2
    assert first.items() <= more.items()
    held = next(name for name, is_held in first.items() if is_held)
    fewer = assign([c for c in cases if c.image_id != held], first, {})
    assert fewer[held]
    assert fewer == first


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_volume_that_was_trained_on_is_never_judged_by_also_after_it_was_missing(count):
    """Of three volumes two are too few to decide anything by."""
    cases = [case(f"v{i}") for i in range(count)]
    for gone in cases:
        first = assign(cases, {}, {})
        seen = {one.image_id: one.digest for one in cases}
        left = [one for one in cases if one is not gone]
        second = assign(left, first, seen)
        third = assign([*cases, case("new"), case("another")], second, {one.image_id: "x" for one in left})
        assert third[gone.image_id] == first[gone.image_id]
    two = assign(cases[:2], {}, {"v0": "x", "v1": "x"})
    assert not assign(cases[:3], two, {"v1": "x"})["v0"]


def test_a_structure_that_comes_later_is_judged_on_a_volume_of_its_own():
    walls, ducts = ([case(f"{name}{i}", name) for i in range(3)] for name in ("wall", "duct"))
    first = assign(walls, {}, {})
    more = assign([*walls, *ducts], first, {one.image_id: "x" for one in walls})
    assert sum(more[one.image_id] for one in ducts) == 1
    assert first.items() <= more.items()
    # of a single new one nothing would be left to learn from, and of two there is nothing to decide
    known = {one.image_id: "x" for one in [*walls, *ducts[:2]]}
    assert not assign([*walls, *ducts], first, known)["duct2"]
    assert not any(assign([*walls, *ducts[:2]], first, {})[one.image_id] for one in ducts[:2])


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])  # their names decide on which side
@pytest.mark.parametrize("slices", [4, 5, 12])
def test_a_single_volume_is_split_by_slices(name, slices):
    whole = case(name, slices=slices)
    lessons, tasks = lessons_and_tasks([whole], {}, {}, most_tasks=8)
    (lesson,) = lessons
    assert lesson.fresh
    present, trained = whole.structures["liver"].areas > 0, lesson.structure.known
    assert len(tasks) == 2
    assert (tasks[0].counted == tasks[1].counted).all()
    for task in tasks:
        assert not (trained & task.counted).any()
        assert (present & task.counted).sum() == max(1, round(slices / 4)) == task.counted.sum()
        assert trained[task.painted]
        assert present[task.painted]
        first, last = task.limits
        assert first <= task.painted <= last
        assert task.counted[first : last + 1].sum() == task.counted.sum()
    held = np.flatnonzero(tasks[0].counted)
    assert (tasks[0].painted < held[0]) != (tasks[1].painted < held[0])  # from either direction
    ends = np.flatnonzero(present)[[0, -1]]
    assert trained[ends].all()


def test_a_structure_that_no_held_back_volume_has_is_judged_on_slices():
    cases = [case("a", "liver"), case("b", "liver"), case("c", "liver", "spleen")]
    _, tasks = lessons_and_tasks(cases, {"a": True, "b": False, "c": False}, {}, most_tasks=8)
    assert sorted((t.case.image_id, t.structure.name, t.limits is None) for t in tasks) == [
        *[("a", "liver", True)] * 3,
        ("c", "spleen", False),
        ("c", "spleen", False),
    ]


def test_held_back_volumes_are_not_lessons_and_labels_seen_before_are_not_fresh():
    cases = [case("a"), case("b"), case("c")]
    seen = {"b": cases[1].digest, "c": "an older digest"}
    lessons, _ = lessons_and_tasks(cases, {"a": True, "b": False, "c": False}, seen, most_tasks=8)
    assert {lesson.case.image_id: lesson.fresh for lesson in lessons} == {"b": False, "c": True}


def test_few_tasks_are_spread_over_the_structures():
    cases = [case(f"v{i}", "liver", "spleen", "kidney") for i in range(4)]
    held = dict.fromkeys((c.image_id for c in cases), True)
    _, tasks = lessons_and_tasks(cases, held, {}, most_tasks=3)
    assert sorted(task.structure.name for task in tasks) == ["kidney", "liver", "spleen"]
    _, again = lessons_and_tasks(list(reversed(cases)), held, {}, most_tasks=3)
    assert [t.case.image_id for t in tasks] == [t.case.image_id for t in again]


def test_few_held_back_volumes_are_judged_from_several_slices():
    held = dict.fromkeys("abcd", True)
    _, tasks = lessons_and_tasks([case("a", slices=13)], held, {}, most_tasks=8)
    assert [task.painted for task in tasks] == [10, 7, 13]
    assert not any(task.counted[task.painted] for task in tasks)
    _, tasks = lessons_and_tasks([case(name) for name in "abcd"], held, {}, most_tasks=6)
    assert sorted(task.case.image_id for task in tasks[:4]) == list("abcd")  # each at its largest first
    assert len(tasks) == 6
    _, tasks = lessons_and_tasks([case(name) for name in "abcd"], held, {}, most_tasks=3)
    assert len(tasks) == 3


def test_a_structure_on_few_slices_cannot_be_judged():
    few = case("a", slices=3)
    lessons, tasks = lessons_and_tasks([few], {}, {}, most_tasks=8)
    assert len(lessons) == 1
    assert tasks == []


def test_a_structure_of_which_only_empty_slices_are_vouched_for_teaches_nothing():
    whole = case("a")
    structure = whole.structures["liver"]
    elsewhere = replace(whole, structures={"liver": replace(structure, known=structure.areas == 0)})
    assert lessons_and_tasks([elsewhere], {}, {}, most_tasks=8) == ([], [])


def test_slices_that_nobody_vouched_for_do_not_count():
    unknown = case("a")
    structure = unknown.structures["liver"]
    known = structure.areas > 0
    unknown = replace(unknown, structures={"liver": replace(structure, known=known)})
    _, tasks = lessons_and_tasks([unknown], {"a": True}, {}, most_tasks=1)
    (task,) = tasks
    assert task.counted.sum() == known.sum() - 1  # all but the painted one
