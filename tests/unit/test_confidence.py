"""Confidence from facts about slices, and the slice whose correction should help most."""

import numpy as np
import pytest
import torch

from slmsam2.engine.confidence import (
    AHEAD,
    FACTS,
    LIKENESS,
    PRESENCE,
    Calibration,
    SliceFacts,
    expected_dice,
    gains,
    read_calibration,
    slice_facts,
)
from slmsam2.engine.propagation import Propagation
from slmsam2.prompts import Marks

pytestmark = pytest.mark.unit

SIZE = 20


@pytest.fixture
def result():
    """A structure on the slices 1 to 5 of 8, prompted on 3; visited are 0 to 6; slice 5 is twice as large."""
    low_res = torch.full((8, 1, SIZE, SIZE), -10.0)
    low_res[1:6, 0, 5:15, 5:15] = 10.0
    low_res[5, 0, 5:15, 0:20] = 10.0
    low_res[2, 0, 5:15, 5:15] = 0.5  # there, but not sure
    agreement = torch.full((8, 1), torch.nan)
    agreement[2] = 0.75
    visited = torch.ones(8, 1, dtype=torch.bool)
    visited[7] = False
    score = torch.full((8, 1), 6.0)
    score[[0, 6]] = -20.0
    return Propagation([4], low_res, score, torch.full((8, 1), 0.9), agreement, visited, (SIZE, SIZE))


@pytest.fixture
def facts(result):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:15, 5:15] = True
    return slice_facts(result, 4, {3: mask})


def fact(facts, name, index):
    return facts.facts[list(facts.slices).index(index), FACTS.index(name)]


def test_facts(facts):
    assert facts.slices.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert facts.found.tolist() == [False, True, True, True, True, True, False]
    assert facts.painted.tolist() == [False, False, False, True, False, False, False]
    assert facts.distances.tolist() == [3, 2, 1, 0, 1, 2, 3]
    assert fact(facts, "presence", 6) == -1
    assert fact(facts, "presence", 5) == pytest.approx(0.6)
    assert fact(facts, "overlap", 5) == pytest.approx(0.9)
    assert fact(facts, "sharpness", 4) == pytest.approx(1, abs=1e-3)
    probability = 1 / (1 + np.exp(-0.5))
    assert fact(facts, "sharpness", 2) == pytest.approx(2 * probability / (1 + probability), abs=1e-3)
    assert (fact(facts, "both", 2), fact(facts, "agreement", 2)) == (1, 0.75)
    assert (fact(facts, "both", 4), fact(facts, "agreement", 4)) == (0, 0)
    assert fact(facts, "distance", 5) == pytest.approx(np.log(3))
    assert fact(facts, "overlap_before", 5) == pytest.approx(2 / 3)
    assert fact(facts, "area_before", 5) == fact(facts, "area", 5) == pytest.approx(np.log(2))
    assert fact(facts, "area", 0) == -4
    # where nothing was found, a part of what is on the nearest prompt is at stake
    assert facts.areas.tolist() == [0.25 * AHEAD, 0.25, 0.25, 0.25, 0.25, 0.5, 0.25 * AHEAD]


def test_likeness_to_other_volumes_counts(result, facts):
    before = expected_dice(facts, None)
    assert facts.likeness is None
    result.likeness[4] = np.array([1, 1, 1, 1, 0.2, 1, 1, 1])
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:15, 5:15] = True
    confidence = expected_dice(slice_facts(result, 4, {3: mask}), None)
    assert confidence[3] == 1
    assert confidence[4] == pytest.approx((before[4] + LIKENESS * 0.2) / (1 + LIKENESS))
    assert confidence[2] > before[2]


def test_without_a_calibration(facts):
    confidence = expected_dice(facts, None)
    assert confidence[3] == 1
    assert confidence[4] == pytest.approx(0.9 / (1 + np.exp(-6)))
    assert confidence[0] == pytest.approx(1 - 1 / (1 + np.exp(10)))


def test_coefficients_are_chosen_by_what_was_found(facts):
    found, empty = np.zeros(1 + len(FACTS)), np.zeros(1 + len(FACTS))
    found[0], found[1 + FACTS.index("distance")] = 2.0, -1.0
    empty[0] = -1.0
    confidence = expected_dice(facts, Calibration(tuple(found), tuple(empty)))
    assert confidence[0] == confidence[6] == pytest.approx(1 / (1 + np.e))
    assert confidence[5] == pytest.approx(1 / (1 + np.exp(-2 + np.log(3))))
    assert confidence[3] == 1


def of_slices(confidence, areas, painted):
    n = len(areas)
    given = np.flatnonzero(painted)
    distances = np.abs(np.arange(n)[:, None] - given).min(axis=1)
    facts = SliceFacts(
        np.arange(n),
        np.ones(n, bool),
        np.zeros((n, len(FACTS))),
        np.array(areas),
        distances,
        np.array(painted),
    )
    return gains(facts, np.array(confidence))


def test_an_end_that_is_not_sure_gains_though_nothing_faint_is_left_before_it(result):
    result.low_res[5, 0] = -10.0
    result.low_res[5, 0, 5, 5] = 0.1  # all that is left
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:15, 5:15] = True
    facts = slice_facts(result, 4, {3: mask})
    gain = gains(facts, np.array([0.9, 0.95, 0.95, 1, 0.95, 0.95, 0.4]))
    assert facts.slices[gain.argmax()] == 6


def test_the_middle_of_a_poor_stretch_gains_most():
    painted = [True, *[False] * 9, True]
    gain = of_slices([1, *[0.5] * 9, 1], [1.0] * 11, painted)
    assert gain.argmax() == 5
    assert gain[[0, 10]].tolist() == [0, 0]


def test_large_slices_weigh_more_than_small_ones():
    painted = [True, False, False, False, False, False, True]
    gain = of_slices([1, 0.9, 0.9, 0.9, 0.1, 0.1, 1], [1, 1, 1, 1, 0.01, 0.01, 1], painted)
    assert gain.argmax() <= 3
    gain = of_slices([1, 0.9, 0.9, 0.9, 0.1, 0.1, 1], [1.0] * 7, painted)
    assert gain.argmax() in (4, 5)


def test_where_an_end_may_be_missed_the_first_doubtful_slice_gains_most():
    gain = of_slices([1, *[0.95] * 5, *[1e-4] * 7], [1.0] * 13, [True, *[False] * 12])
    assert gain.argmax() == 6
    presence = 1e-4**PRESENCE
    assert gain[6] > (1 - presence) * 7 / 13  # all of the tail, unless the structure is there


def test_where_slices_get_worse_with_the_distance_it_pays_to_go_far():
    confidence = [1.0, *np.linspace(0.95, 0.5, 20)]
    gain = of_slices(confidence, [1.0] * 21, [True, *[False] * 20])
    assert 11 <= gain.argmax() <= 18


def test_a_doubtful_slice_makes_all_beyond_it_doubtful():
    painted = [True, *[False] * 6]
    sure = of_slices([1, *[0.9] * 6], [1.0] * 7, painted)
    after_a_doubt = of_slices([1, 0.9, 1e-3, *[0.9] * 4], [1.0] * 7, painted)
    assert (after_a_doubt[3:] > 1.5 * sure[3:]).all()
    assert (after_a_doubt <= 1).all()


def test_nothing_beyond_a_prompt_gains():
    gain = of_slices([1, 1, 1, 1, 0, 0, 0], [1.0] * 7, [False, False, False, True, False, False, False])
    assert not gain[:4].any()
    assert gain[4:].all()


def test_a_calibration_for_other_facts_is_not_used():
    numbers = [0.0] * (1 + len(FACTS))
    settings = {"facts": list(FACTS), "found": numbers, "empty": numbers}
    assert read_calibration(settings) == Calibration(tuple(numbers), tuple(numbers))
    assert read_calibration({**settings, "facts": ["presence"]}) is None
    assert read_calibration(None) is None


def test_what_was_drawn_from_marks_is_as_sure_as_is_expected_of_it(result):
    inside = np.zeros((SIZE, SIZE), bool)
    inside[10, 10] = True
    result.iou[3] = 0.5
    marked = slice_facts(result, 4, {3: Marks(inside, np.zeros_like(inside))})
    sure = Calibration((20.0, *[0.0] * len(FACTS)), (20.0, *[0.0] * len(FACTS)))
    confidence = expected_dice(marked, sure)
    assert confidence[3] == pytest.approx(2 / 3)
    assert (np.delete(confidence, 3) > 0.99).all()
    assert gains(marked, confidence).argmax() == 3
