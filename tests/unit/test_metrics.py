"""Dice and the repeated-slice baseline, against numbers worked out by hand."""

import numpy as np
import pytest

from slmsam2.errors import GridError, PromptError
from slmsam2.masks import largest_slice, only_slice
from slmsam2.metrics import dice, repeat_slice

pytestmark = pytest.mark.unit


def cone() -> np.ndarray:
    """A mask (6, 6, 5) with squares of side 0, 2, 4, 2, 0 along the last axis."""
    mask = np.zeros((6, 6, 5), dtype=np.uint8)
    mask[2:4, 2:4, 1] = 1
    mask[1:5, 1:5, 2] = 1
    mask[2:4, 2:4, 3] = 1
    return mask


def test_dice_of_a_known_overlap():
    a, b = np.zeros(10), np.zeros(10)
    a[:4] = 1
    b[2:8] = 5
    assert dice(a, b) == pytest.approx(2 * 2 / (4 + 6))
    assert dice(a, a) == 1.0
    assert dice(a, 1 - a) == 0.0


def test_dice_of_empty_masks():
    empty, full = np.zeros((2, 3)), np.ones((2, 3))
    assert dice(empty, empty) == 1.0
    assert dice(empty, full) == 0.0


def test_dice_refuses_other_shapes():
    with pytest.raises(GridError, match=r"\(2, 3\) and \(3, 2\)"):
        dice(np.ones((2, 3)), np.ones((3, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_painted_slice_and_repetition(axis):
    mask = np.moveaxis(cone(), 2, axis)
    assert largest_slice(mask, axis) == 2

    painted = only_slice(mask, axis, 2)
    assert painted.sum() == 16
    assert painted.dtype == mask.dtype

    everywhere = repeat_slice(painted, axis)
    assert everywhere.sum() == 5 * 16
    assert dice(everywhere, mask) == pytest.approx(2 * 24 / (80 + 24))

    within = repeat_slice(painted, axis, extent=mask)
    assert within.sum() == 3 * 16
    assert dice(within, mask) == pytest.approx(2 * 24 / (48 + 24))


def test_no_slice_to_paint():
    with pytest.raises(PromptError, match="empty"):
        largest_slice(np.zeros((3, 3, 3)), 0)
