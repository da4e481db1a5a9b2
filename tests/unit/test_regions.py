"""The square around what was painted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmsam2.engine.regions import Region, region_around, whole_slices

pytestmark = pytest.mark.unit


def mask(shape, top, bottom, left, right):
    result = np.zeros(shape, bool)
    result[top:bottom, left:right] = True
    return result


def test_square_in_mm_with_room_on_each_side():
    # 40 rows of 1 mm and 10 columns of 2 mm: the longer side is 40 mm, with half of it on each side 80 mm
    region = region_around([mask((200, 200), 100, 140, 90, 100)], (1.0, 2.0), margin=0.5)
    assert region.size == (80, 40)
    assert (region.top, region.bottom) == (80, 160)
    assert (region.left, region.right) == (75, 115)


def test_holds_the_masks_of_all_painted_slices():
    masks = [mask((100, 100), 10, 20, 10, 20), mask((100, 100), 60, 70, 50, 60)]
    region = region_around(masks, (1.0, 1.0), margin=0.1)
    assert all(region.cut(m).sum() == m.sum() for m in masks)


def test_moved_inside_and_never_larger_than_the_slice():
    region = region_around([mask((100, 60), 0, 30, 0, 30)], (1.0, 1.0), margin=0.75)
    assert (region.top, region.left) == (0, 0)
    assert region.size == (75, 60)
    assert not region.is_whole
    assert region_around([mask((50, 60), 0, 50, 0, 30)], (1.0, 1.0), margin=0.75).is_whole


def test_tiny_structures_keep_some_surroundings():
    assert region_around([mask((100, 100), 50, 51, 50, 51)], (0.5, 0.5), margin=0.75).size == (32, 32)


def test_touched_only_at_edges_where_the_slice_goes_on():
    region = Region(0, 40, 10, 50, (100, 100))
    at_top, at_left = mask((40, 40), 0, 3, 10, 20), mask((40, 40), 10, 20, 1, 5)
    assert not region.is_touched_by(at_top)
    assert region.is_touched_by(at_left)
    assert not region.is_touched_by(mask((40, 40), 5, 30, 5, 30))
    assert not whole_slices(np.zeros((40, 40))).is_touched_by(np.ones((40, 40), bool))


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corner=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    extent=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    spacing=st.tuples(st.floats(0.1, 8), st.floats(0.1, 8)),
    margin=st.floats(0, 3),
)
def test_always_inside_the_slice_and_around_the_mask(shape, corner, extent, spacing, margin):
    top, left = (int(c * (n - 1)) for c, n in zip(corner, shape, strict=True))
    painted = mask(shape, top, min(top + extent[0], shape[0]), left, min(left + extent[1], shape[1]))
    region = region_around([painted], spacing, margin)
    assert 0 <= region.top < region.bottom <= shape[0]
    assert 0 <= region.left < region.right <= shape[1]
    assert region.cut(painted).sum() == painted.sum()
