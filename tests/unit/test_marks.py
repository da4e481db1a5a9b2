"""Clicks, strokes and boxes as the points of SAM's prompt encoder."""

import numpy as np
import pytest

from slmsam2.prompts import Marks, extent_of, is_empty
from slmsam2.prompts.marks import MOST_POINTS, spread_pixels

pytestmark = pytest.mark.unit

NOTHING = np.zeros((20, 30), bool)


def pixels(*places):
    """bool (20, 30), true at (row, column)."""
    mask = NOTHING.copy()
    for row, column in places:
        mask[row, column] = True
    return mask


def test_box_then_inside_then_outside():
    marks = Marks(pixels((4, 7)), pixels((0, 29), (19, 0)), box=(2.0, 3.0, 12.0, 9.0))
    points, labels = marks.points()
    assert labels.tolist() == [2, 3, 1, 0, 0]
    assert points[:3].tolist() == [[2, 3], [12, 9], [7.5, 4.5]]
    assert {tuple(p) for p in points[3:].tolist()} == {(29.5, 0.5), (0.5, 19.5)}
    assert (points.dtype, labels.dtype) == (np.float32, np.int32)


def test_the_first_click_comes_first_wherever_the_slice_is_cut_and_however_it_is_resized():
    marks = Marks(pixels((4, 7), (10, 12), (16, 17)), pixels((0, 0)), first=(16, 17))
    assert marks.points()[0][0].tolist() == [17.5, 16.5]
    part = marks.cut(lambda mask: mask[2:20, 5:25], left=5, top=2)
    assert part.points()[0][0].tolist() == [12.5, 14.5]
    assert part.resized((36, 40)).points()[0][0].tolist() == [25.5, 29.5]
    assert np.argwhere(part.beginning.inside).tolist() == [[14, 12]]
    assert not part.beginning.outside.any()


def test_of_strokes_the_middle_comes_first():
    marks = Marks(pixels((4, 7), (10, 12), (16, 17)), pixels((0, 0)))
    assert np.argwhere(marks.beginning.inside).tolist() == [[10, 12]]
    assert not Marks(NOTHING, pixels((0, 0))).beginning.says_where


def test_a_stroke_is_thinned_out_and_keeps_its_ends():
    stroke = NOTHING.copy()
    stroke[10, 2:28] = True
    chosen = spread_pixels(stroke)
    assert len(chosen) == MOST_POINTS
    assert {y for _, y in chosen} == {10.5}
    assert {min(x for x, _ in chosen), max(x for x, _ in chosen)} == {2.5, 27.5}
    gaps = np.diff(sorted(x for x, _ in chosen))
    assert gaps.max() <= 7
    assert spread_pixels(NOTHING) == []


def test_what_says_where_the_structure_is():
    only_outside = Marks(NOTHING, pixels((1, 1)))
    assert is_empty(only_outside)
    assert not is_empty(only_outside.with_base(pixels((5, 5))))
    assert is_empty(only_outside.with_base(NOTHING))
    assert not is_empty(Marks(NOTHING, NOTHING, box=(0.0, 0.0, 5.0, 5.0)))
    assert is_empty(NOTHING)
    assert not is_empty(pixels((1, 1)))


@pytest.mark.parametrize("box", [(-10, -10, -2, -2), (-10.0, 3, -2, 9), (100, 3, 120, 9)])
def test_a_box_outside_the_slice_marks_nothing_far_away(box):
    assert Marks(NOTHING, NOTHING, box=box).extent.sum() <= 6


def test_extent_and_cut():
    marks = Marks(pixels((4, 7)), NOTHING, box=(10.0, 2.0, 14.0, 6.0), base=pixels((15, 15)))
    assert extent_of(marks).sum() == 4 * 4 + 2
    part = marks.cut(lambda mask: mask[2:18, 5:25], left=5, top=2)
    assert part.inside.shape == (16, 20)
    assert np.argwhere(part.inside).tolist() == [[2, 2]]
    assert part.box == (5.0, 0.0, 9.0, 4.0)
    assert part.base[13, 10]
