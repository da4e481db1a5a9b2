"""The shape between two prompts."""

import numpy as np
import pytest
import torch

from slmsam2.engine.interpolation import Shape, between, fill, taper, widen
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.spans import spans_between
from slmsam2.metrics import dice

pytestmark = pytest.mark.integration

SIZE = 40


def disc(row, column, radius):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_a_disc_between_two_discs():
    low, high = Shape(disc(10, 12, 4)), Shape(disc(26, 28, 10))
    assert dice(between(low, high, 0) > 0, disc(10, 12, 4)) == 1
    assert dice(between(low, high, 1) > 0, disc(26, 28, 10)) == 1
    # the area, not the radius, is halfway
    assert dice(between(low, high, 0.5) > 0, disc(18, 20, np.sqrt((4**2 + 10**2) / 2))) > 0.95


def test_areas_change_evenly():
    for high in (disc(20, 20, 15), np.ones((SIZE, SIZE), bool)):
        shapes = Shape(disc(20, 20, 3)), Shape(high)
        areas = [np.count_nonzero(between(*shapes, share) > 0) for share in (0, 0.25, 0.5, 0.75, 1)]
        expected = np.linspace(shapes[0].area, shapes[1].area, 5)
        np.testing.assert_allclose(areas, expected, atol=0.02 * SIZE**2)


@pytest.fixture
def result():
    """Prompts on the slices 1 and 5 of 8; the network found a square on all but slice 4."""
    low_res = torch.full((8, 1, SIZE, SIZE), -1024.0)
    low_res[:, 0, :10, :10] = 4.0
    low_res[4] = -1024.0
    for index, mask in ((1, disc(20, 20, 6)), (5, disc(20, 20, 10))):
        low_res[index, 0] = torch.from_numpy(20.0 * mask - 10)
    rest = torch.zeros(8, 1)
    visited = torch.ones(8, 1, dtype=torch.bool)
    visited[4] = False
    found = Propagation([3], low_res, rest, rest, torch.full((8, 1), torch.nan), visited, (SIZE, SIZE))
    found.spans[3] = spans_between([1, 5], (0, 7))
    return found


def test_it_is_put_where_nothing_was_found(result):
    before = result.low_res.clone()
    fill(result)
    assert dice((result.low_res[4, 0] > 0).numpy(), disc(20, 20, 9)) > 0.95
    for index in (0, 1, 2, 3, 5, 6, 7):
        assert torch.equal(result.low_res[index], before[index])
    assert result.visited.all()


def test_beyond_the_prompts_nothing_is_put(result):
    result.low_res[6] = -1024.0
    before = result.low_res[6:].clone()
    fill(result)
    assert torch.equal(result.low_res[6:], before)


def test_nothing_between_a_prompt_and_an_empty_slice(result):
    result.low_res[5] = -1024.0
    before = result.low_res.clone()
    fill(result)
    assert torch.equal(result.low_res, before)


def test_what_is_too_small_between_two_prompts_is_widened(result):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    cone = torch.from_numpy(5.0 - np.hypot(rows - 20.3, columns - 20.1)).float()
    small, even = (cone > 0).numpy(), 0.75 * disc(20, 20, 6).sum() + 0.25 * disc(20, 20, 10).sum()
    result.low_res[2, 0], result.low_res[3, 0], result.low_res[6, 0] = cone, cone + 7, cone
    before = result.low_res.clone()
    widen(result)
    widened = (result.low_res[2, 0] > 0).numpy()
    assert widened.sum() == pytest.approx(np.sqrt(even * small.sum()), abs=2)
    assert widened[small].all()
    assert not widened[~disc(20, 20, 8)].any()
    for index in (0, 1, 3, 4, 5, 6, 7):  # large enough, empty, a prompt, or beyond the prompts
        assert torch.equal(result.low_res[index], before[index])


def found_on_all(areas, slices=30):
    """A structure found as the same square on every slice but the prompted ones, {slice: area}.

    The slices that it is left on, and where and why each direction stopped.
    """
    low_res = torch.full((slices, 1, SIZE, SIZE), -4.0)
    low_res[:, 0, :10, :10] = 4.0
    for index, area in areas.items():
        low_res[index] = -4.0
        low_res[index, 0].view(-1)[:area] = 4.0
    rest = torch.zeros(slices, 1)
    seen = torch.ones(slices, 1, dtype=torch.bool)
    found = Propagation([3], low_res, rest, rest, torch.full((slices, 1), torch.nan), seen, (SIZE, SIZE))
    found.spans[3], found.stops[3] = spans_between(list(areas), (0, slices - 1)), {}
    taper(found)
    left = np.flatnonzero((found.low_res[:, 0] > 0).flatten(1).any(dim=1).numpy()).tolist()
    return left, {direction: stop.slice for direction, stop in found.stops[3].items()}


def test_a_structure_ends_where_its_areas_fall_towards_an_end():
    # from 200 on slice 10 to 100 on slice 14: zero on slice 18, so nothing from 4 * 1.5 slices beyond on
    assert found_on_all({10: 200, 14: 100}) == (list(range(21)), {"up": 21})
    assert found_on_all({15: 100, 19: 200}) == (list(range(9, 30)), {"down": 8})
    assert found_on_all({8: 150, 10: 200, 14: 100}) == (list(range(21)), {"up": 21})


@pytest.mark.parametrize("areas", [{10: 200}, {10: 200, 14: 190}, {10: 100, 14: 100}])
def test_areas_that_hardly_fall_say_nothing_of_an_end(areas):
    assert found_on_all(areas) == (list(range(30)), {})


def test_an_empty_slice_says_nothing_of_areas():
    assert found_on_all({10: 200, 14: 0}) == ([index for index in range(30) if index != 14], {})
