"""Clicks of a request, as marks on slices."""

import numpy as np
import pytest

from slmsam2.server.requests.points import marks_of, parse_clicks
from slmsam2.volume import SliceView

pytestmark = pytest.mark.unit

SHAPE = (20, 30, 8)


@pytest.fixture
def view():
    return SliceView(SHAPE, np.eye(4), 2)


def test_the_first_click_of_each_slice_is_known(view):
    placed = [[3, 4, 5], [10, 11, 2], [12, 4, 5], [1, 1, 2]]
    clicks = parse_clicks({"foreground": placed, "background": [[0, 0, 5], [0, 0, 7]]}, SHAPE)
    marks = marks_of(clicks, view)
    for point, beside in ((placed[0], placed[2]), (placed[1], placed[3])):
        index, row, column = view.stack_position(tuple(point))
        assert marks[index].first == (row, column)
        _, row, column = view.stack_position(tuple(beside))
        assert marks[index].inside[row, column]
    assert marks[view.stack_position((0, 0, 7))[0]].first is None
