"""The plane across the slices that is suggested."""

import numpy as np
import pytest

from slmsam2.engine.regions import Region
from slmsam2.engine.suggestion import plane_across

pytestmark = pytest.mark.unit

REGION = Region(20, 60, 10, 50, (100, 90))  # two pixels per sample
ROWS, COLUMNS = 1, 2


@pytest.fixture
def masks():
    """A plate, twelve samples wide and four high, on six slices; on the last two it is narrower."""
    masks = np.zeros((6, 20, 20), bool)
    masks[:, 6:10, 4:16] = True
    masks[4:, :, 10:] = False
    return masks


def test_the_plane_that_shows_most_of_what_is_wrong(masks):
    everywhere = np.full(6, 0.5)
    dimension, row = plane_across(masks, everywhere, REGION, (1.0, 1.0), {})
    assert dimension == ROWS
    assert row in range(32, 40)
    # high pixels: along columns there is more to see
    dimension, column = plane_across(masks, everywhere, REGION, (4.0, 1.0), {})
    assert dimension == COLUMNS
    assert column in range(18, 30)


def test_slices_that_are_sure_count_for_nothing(masks):
    lacks = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 0.5])
    masks[4:, 14:20, 4:10] = True
    dimension, column = plane_across(masks, lacks, REGION, (1.0, 1.0), {})
    assert dimension == COLUMNS
    assert column in range(18, 30)


def test_far_from_planes_that_were_given(masks):
    everywhere = np.full(6, 0.5)
    rows = [plane_across(masks, everywhere, REGION, (1.0, 1.0), {ROWS: [row]}) for row in (33, 39)]
    assert [dimension for dimension, _ in rows] == [ROWS, ROWS]
    assert rows[0][1] > 35 > rows[1][1]
    dimension, column = plane_across(masks, everywhere, REGION, (4.0, 1.0), {COLUMNS: [21]})
    assert dimension == COLUMNS
    assert column > 25


@pytest.mark.parametrize("lacks", [np.zeros(6), np.array([0, 0.5, 0, 0, 0, 0])], ids=["nothing", "one slice"])
def test_none_where_there_is_nothing_to_see(masks, lacks):
    assert plane_across(masks, lacks, REGION, (1.0, 1.0), {}) is None


def test_none_of_nothing():
    assert plane_across(np.zeros((6, 20, 20), bool), np.ones(6), REGION, (1.0, 1.0), {}) is None
