"""Post-processing leaves alone what the user painted, and other structures."""

import numpy as np
import pytest

from slmsam2.engine import Cleaning, Settings, cleaning
from slmsam2.engine.cleaning import clean

pytestmark = pytest.mark.unit


@pytest.fixture
def stack():
    """(9, 20, 20): a square with a hole on slices 1 to 7, a speck, another structure in the hole of slice 5."""
    labels = np.zeros((9, 20, 20), np.uint8)
    labels[1:8, 4:14, 4:14] = 1
    labels[1:8, 8, 8] = 0
    labels[5, 8, 8] = 2
    labels[6, 17:19, 17:19] = 1
    return labels


def prompt(stack, *slices):
    return {1: {index: stack[index] == 1 for index in slices}}


def test_nothing_is_done_unless_asked(stack):
    before = stack.copy()
    clean(stack, prompt(stack, 4), Cleaning(), Settings(), {})
    np.testing.assert_array_equal(stack, before)


def test_holes(stack):
    clean(stack, prompt(stack, 4), Cleaning(fill_holes=True), Settings(), {})
    assert stack[[1, 2, 3, 6, 7], 8, 8].tolist() == [1] * 5
    assert stack[4, 8, 8] == 0  # painted like that
    assert stack[5, 8, 8] == 2


def test_largest_piece_and_painted_ones(stack):
    clean(stack, prompt(stack, 4), Cleaning(keep_largest=True), Settings(), {})
    assert not stack[6, 17:19, 17:19].any()
    assert (stack == 1).sum() == 7 * 99
    stack[6, 17:19, 17:19] = 1
    stack[7, 17, 17] = 1  # hangs together with what is painted
    clean(stack, prompt(stack, 6), Cleaning(keep_largest=True), Settings(), {})
    assert stack[7, 17, 17] == 1


@pytest.mark.parametrize("work", ["binary_fill_holes", "label", "gaussian_filter1d"])
def test_only_around_a_structure_there_is_work(stack, monkeypatch, work):
    sizes, done = [], getattr(cleaning, work)
    monkeypatch.setattr(
        cleaning, work, lambda mask, *a, **k: sizes.append(mask.shape[-2:]) or done(mask, *a, **k)
    )
    stack[6, 17:19, 17:19] = 0
    clean(stack, prompt(stack, 4), Cleaning(True, True, True), Settings(), {})
    assert set(sizes) == {(10, 10)}


def test_smoothing_across_slices(stack):
    stack[3, 4:14, 4:14] = 0  # one slice missed
    stack[2, 14, 4:14] = 1  # a row on one slice only
    clean(stack, prompt(stack, 5), Cleaning(smooth_slices=True), Settings(), {})
    assert (stack[3, 4:8, 4:14] == 1).all()
    assert not (stack[2, 14] == 1).any()
    assert stack[5, 8, 8] == 2
    assert not stack[0].any()


def test_a_painted_slice_bounds_the_smoothing(stack):
    one, other = stack.copy(), stack.copy()
    other[6:] = 0
    for labels in (one, other):
        clean(labels, prompt(stack, 5), Cleaning(smooth_slices=True), Settings(), {})
    np.testing.assert_array_equal(one[:6], other[:6])


def test_slices_out_of_range_stay_as_they_are(stack):
    clean(stack, prompt(stack, 4), Cleaning(fill_holes=True), Settings(last=6, down=False), {})
    assert stack[[1, 2, 3, 6, 7], 8, 8].tolist() == [0, 0, 0, 1, 0]
