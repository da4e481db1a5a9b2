"""Ends told by what is known of a structure's length in other volumes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from slmsam2.engine.lengths import LEAST_VOLUMES, USUAL, follow_others, have_a_length, usual_in
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import END_OF_RANGE, USUAL_LENGTH, Stop
from slmsam2.engine.spans import Span
from slmsam2.volume import Profile, SliceView, whole_profile

pytestmark = pytest.mark.unit

SIZE = 16
SLICES = 40
VIEW = SliceView((SIZE, SIZE, SLICES), np.diag([2.0, 2.0, 3.0, 1.0]), 2)


def egg(length: float, spacing: float = 3.0) -> Profile:
    """Largest at a third of its length."""
    places = np.arange(0, length + 1e-6, spacing) / length
    areas = 900 * np.where(
        places < 1 / 3, 1 - (1 - 3 * places) ** 2 / 1.5, 1 - (1.5 * places - 0.5) ** 2 / 1.5
    )
    return Profile(2, spacing, areas.astype(np.float32))


def found(profile: Profile, first: int, beyond: int = 0) -> np.ndarray:
    """Areas (SLICES,) of a structure from slice ``first`` on; its last slice goes on ``beyond`` its end."""
    areas = np.zeros(SLICES)
    grown = np.append(profile.areas, np.full(beyond, profile.areas[-1]))
    areas[first : first + len(grown)] = grown
    return areas


def propagation(areas: np.ndarray, given: list[int]) -> Propagation:
    """Masks with so many pixels on each slice, surer the farther from their edge."""
    ranks = torch.arange(SIZE * SIZE).view(SIZE, SIZE)
    logits = torch.stack([(int(area) - 0.5 - ranks) / 20 for area in areas])[:, None]
    facts = torch.ones(len(areas), 1)
    ends = [None, *given, None]
    spans = [
        Span(low, high, 0 if low is None else low + 1, len(areas) - 1 if high is None else high - 1)
        for low, high in pairwise(ends)
    ]
    stops = {"up": Stop(len(areas) - 1, END_OF_RANGE), "down": Stop(0, END_OF_RANGE)}
    return Propagation([7], logits, facts, facts, facts, facts > 0, (SIZE, SIZE), {7: stops}, {7: spans})


def test_areas_lie_between_those_of_slices_and_end() -> None:
    profile = Profile(2, 2.0, np.array([10.0, 20.0], np.float32))
    assert profile.length == 2
    assert profile.at(np.array([[-2.0, -1.0, 0.0], [1.0, 2.0, 4.0]])).tolist() == [[0, 5, 10], [15, 20, 0]]


def test_a_profile_is_of_a_whole_structure() -> None:
    pixels = np.zeros(SLICES, int)
    pixels[5:8] = [2, 4, 3]
    known = np.ones(SLICES, bool)
    profile = whole_profile(pixels, known, VIEW)
    assert profile is not None
    assert (profile.patient_axis, profile.spacing, profile.areas.tolist()) == (2, 3.0, [8, 16, 12])
    known[8] = False  # somebody stopped painting there
    assert whole_profile(pixels, known, VIEW) is None
    assert whole_profile(pixels[5:], known[:35], VIEW) is None  # the image ends there
    assert whole_profile(pixels[:8], np.ones(8, bool), VIEW) is None
    assert whole_profile(np.zeros(SLICES, int), known, VIEW) is None


@pytest.mark.parametrize(("axis", "patient_axis"), [(0, 2), (1, 0), (2, 1)])
def test_the_axis_is_the_patients(axis: int, patient_axis: int) -> None:
    affine = np.array([[0, -2.0, 0, 0], [0, 0, 2.0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]])
    assert SliceView((20, 20, 20), affine, axis).patient_axis == patient_axis


def test_a_length_needs_volumes_that_are_alike() -> None:
    assert have_a_length([egg(45), egg(51), egg(48)])
    assert not have_a_length([egg(45), egg(48)])
    assert not have_a_length([egg(45), egg(15), egg(90)])  # tumours
    assert not have_a_length([])


KNOWN = [egg(45), egg(51), egg(48, spacing=1.5)]


@pytest.mark.parametrize("place", [0.33, 0.1, 0.75])
def test_the_ends_are_found_from_any_painted_slice(place: float) -> None:
    own = egg(48)
    areas = found(own, first=10, beyond=9)
    given = [10 + round(place * (len(own.areas) - 1))]
    usual = usual_in(KNOWN, areas, given, 3.0)
    assert usual is not None
    assert usual.first == pytest.approx(10, abs=1)
    assert usual.last == pytest.approx(26, abs=1)
    assert usual.areas[given[0]] == pytest.approx(areas[given[0]])
    assert usual.areas[12:24] == pytest.approx(areas[12:24], rel=0.15)


def test_a_slice_given_as_empty_counts() -> None:
    own = egg(48)
    areas = found(own, first=10, beyond=9)
    areas[27:] = 0
    with_it, without = usual_in(KNOWN, areas, [15, 27], 3.0), usual_in(KNOWN, areas, [15], 3.0)
    assert with_it is not None
    assert without is not None
    assert (with_it.first, with_it.last) == (without.first, without.last)
    assert usual_in(KNOWN, areas, [], 3.0) is None
    assert usual_in(KNOWN, np.zeros(SLICES), [27], 3.0) is None


def test_another_thing_of_that_name_has_no_usual_in() -> None:
    small = egg(12)
    areas = found(Profile(2, 3.0, small.areas / 9), first=10)
    assert usual_in(KNOWN, areas, [11], 3.0) is None


def test_what_runs_on_is_ended() -> None:
    own = egg(48)
    result = propagation(found(own, first=10, beyond=9) / 4, given=[15])
    follow_others(result, {7: KNOWN}, (3.0, 2.0, 2.0))
    present = (result.low_res > 0).flatten(1).any(dim=1).nonzero().flatten().tolist()
    assert present == list(range(10, result.stops[7]["up"].slice))
    assert present[-1] == pytest.approx(26, abs=1)
    assert result.stops[7]["up"].reason == USUAL_LENGTH
    assert result.stops[7]["down"].reason == END_OF_RANGE
    assert result.ended_by_length == {7}


def test_masks_that_have_worn_down_are_made_larger() -> None:
    own = egg(48)
    areas = found(own, first=10)
    worn = areas.copy()
    worn[18:] *= 0.7
    result = propagation(worn / 4, given=[15])
    follow_others(result, {7: KNOWN}, (3.0, 2.0, 2.0))
    after = 4 * (result.low_res > 0).flatten(1).sum(dim=1).numpy()
    assert after[18:24] == pytest.approx(areas[18:24] * 0.7 ** (1 - USUAL), rel=0.15)
    assert after[15] == int(worn[15] / 4) * 4


def test_usual_areas_pass_through_what_was_given() -> None:
    areas = found(egg(48), first=10)
    areas[20] *= 1.3
    usual = usual_in(KNOWN, areas, [15, 20], 3.0)
    assert usual is not None
    assert usual.areas[[15, 20]] == pytest.approx(areas[[15, 20]])
    assert usual.areas[22] == pytest.approx(1.3 * areas[22], rel=0.15)


def test_a_tip_that_was_painted_says_little_of_sizes() -> None:
    """Areas change much from one slice to the next there."""
    own = egg(48)
    areas = found(own, first=10)
    areas[26] *= 2
    usual = usual_in(KNOWN, areas, [15, 26], 3.0)
    assert usual is not None
    assert usual.areas[25] <= 1.75 * areas[25]
    assert usual.areas[15] == pytest.approx(areas[15])


def test_a_gap_in_other_volumes_does_no_harm() -> None:
    broken = egg(48)
    broken.areas[4:7] = 0
    areas = np.zeros(SLICES)
    areas[15] = 1.0
    known = [broken] * LEAST_VOLUMES
    usual = usual_in(known, areas, [15], 3.0)
    assert usual is None or np.isfinite(usual.areas).all()


def test_what_the_user_painted_beyond_stays_and_goes_on() -> None:
    own = egg(48)
    areas = found(own, first=10, beyond=9) / 4
    result = propagation(areas, given=[15, 33])
    before = (result.low_res > 0).flatten(1).any(dim=1)
    follow_others(result, {7: KNOWN}, (3.0, 2.0, 2.0))
    assert torch.equal((result.low_res > 0).flatten(1).any(dim=1), before)
    assert result.stops[7]["up"].reason == END_OF_RANGE


@pytest.mark.parametrize("known", [[], KNOWN[:2]])
def test_without_a_length_nothing_changes(known: list[Profile]) -> None:
    result = propagation(found(egg(48), first=10, beyond=9) / 4, given=[15])
    before = result.low_res.clone()
    follow_others(result, {7: known}, (3.0, 2.0, 2.0))
    assert torch.equal(result.low_res, before)
    assert not result.ended_by_length
