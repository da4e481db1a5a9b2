"""What of the mask logits comes into the label volume, and what stays as it was."""

import numpy as np
import pytest
import torch

from slmsam2.engine.cleaning import Cleaning
from slmsam2.engine.job import Job
from slmsam2.engine.labels import write_labels
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.regions import Region
from slmsam2.engine.settings import Settings
from slmsam2.engine.structures import Found
from slmsam2.errors import VolumeError

pytestmark = pytest.mark.unit

SIZE, SLICES = 8, 6


def mask(low, high):
    """Bool (SIZE, SIZE), some of the columns."""
    array = np.zeros((SIZE, SIZE), bool)
    array[:, low:high] = True
    return array


@pytest.fixture
def found():
    """Structure 1 on columns 0 to 3 of all slices, structure 2 on 4 to 7, less surely; computed anew are 3 to 5."""
    low_res = torch.full((SLICES, 2, SIZE, SIZE), -2.0)
    low_res[:, 0, :, :4] = 2.0
    low_res[:, 1, :, 4:] = 0.5
    rest = torch.ones(SLICES, 2)
    propagation = Propagation([1, 2], low_res, rest, rest, rest, rest > 0, (SIZE, SIZE))
    propagation.redone = {1: {3, 4, 5}, 2: {3, 4, 5}}
    return Found(propagation, Region(0, SIZE, 0, SIZE, (SIZE, SIZE)), 0.0)


def written(found, before, within=None):
    given = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    prompts = {1: {0: mask(0, 4)}, 2: {0: mask(4, 8)}}
    result = np.zeros_like(given)
    write_labels([found], prompts, given, result, Settings(), before, within or {}, {})
    return result


def test_the_surest_structure_has_a_voxel(found):
    result = written(found, {})
    assert (result[:, :, :4] == 1).all()
    assert (result[:, :, 4:] == 2).all()


def test_where_nothing_new_is_computed_a_structure_stays_as_it_was(found):
    result = written(found, {1: dict.fromkeys(range(SLICES), mask(1, 5))})
    assert np.array_equal(result[1:3] == 1, np.repeat(mask(1, 4)[None], 2, axis=0))
    assert (result[1:3, :, 4:] == 2).all()  # which is surer there
    assert (result[1:3, :, 0] == 0).all()
    assert (result[3:, :, :4] == 1).all()


def test_it_may_have_been_larger(found):
    found.propagation.low_res[:, 1] = -2.0
    result = written(found, {1: dict.fromkeys(range(SLICES), mask(0, 6))})
    assert np.array_equal(result[1] == 1, mask(0, 6))
    assert np.array_equal(result[4] == 1, mask(0, 4))


@pytest.mark.parametrize(
    ("settings", "cleaning", "plain"),
    [
        (Settings(stop_after=3), Cleaning(), True),
        (Settings(up=False), Cleaning(), False),
        (Settings(first=0), Cleaning(), False),
        (Settings(last=4), Cleaning(), False),
        (Settings(), Cleaning(fill_holes=True), False),
    ],
)
def test_a_plain_job_goes_everywhere_and_cleans_nothing(settings, cleaning, plain):
    assert Job(None, None, {}, None, settings, cleaning).plain is plain


def test_where_a_structure_was_not_looked_for_nothing_of_it_comes_back(found):
    found.propagation.visited[4:, 0] = False  # it ends on slice 3, its neighbour goes on
    result = written(found, {1: dict.fromkeys(range(SLICES), mask(0, 4))})
    assert (result[:4, :, :4] == 1).all()
    assert not (result[4:] == 1).any()
    assert (result[4:, :, 4:] == 2).all()


def test_a_structure_does_not_leave_its_box(found):
    result = written(found, {}, {2: (5.0, 1.0, 7.0, 4.0)})
    assert (result[1:, 1:4, 5:7] == 2).all()
    outside = result[1:].copy()
    outside[:, 1:4, 5:7] = 0
    assert not (outside == 2).any()
    assert (result[0, :, 4:] == 2).all()  # painted
    assert (result[:, :, :4] == 1).all()


@pytest.mark.parametrize("across", [False, True], ids=["slice", "row"])
@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_what_was_painted_over_another_structure_stays(found, order, across):
    """Structure 1 was given on slice 0, or on row 3; then 2 was painted over a part of it there."""
    given = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    given[0] = np.where(mask(0, 4), 1, 2)
    given[:, 3, :4], given[:, 3, 2:] = 1, 2
    prompts = {1: {0: mask(0, 4)}, 2: {0: given[0] == 2}}
    rows = {1: {1: {3: np.repeat(mask(0, 4)[3][None], SLICES, axis=0)}}, 2: {1: {3: given[:, 3] == 2}}}
    result = np.zeros_like(given)
    planes = {value: rows[value] for value in order} if across else {}
    prompts = {value: prompts[value] for value in order}
    write_labels([found], prompts, given, result, Settings(), {}, {}, planes)
    np.testing.assert_array_equal(result[0], given[0])
    if across:
        np.testing.assert_array_equal(result[:, 3], given[:, 3])


def test_a_value_that_the_label_cannot_hold_is_refused(found):
    given = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    with pytest.raises(VolumeError, match="uint8 cannot hold the value 300"):
        write_labels([found], {300: {2: mask(0, 4)}}, given, np.zeros_like(given), Settings(), {}, {}, {})
