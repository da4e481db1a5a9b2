"""Ends and areas told by what is known of a structure in other volumes."""

from __future__ import annotations

import numpy as np
import pytest

from slmsam2.engine.lengths import LEAST_VOLUMES, USUAL, alike, end, resize, usual_in
from slmsam2.engine.settings import USUAL_LENGTH
from slmsam2.volume import Sections

pytestmark = pytest.mark.unit

SIZE = 16
SLICES = 40
LARGEST = 900.0  # mm²


def egg(length: float, spacing: float = 3.0) -> Sections:
    """Largest at a third of its length, mm."""
    places = np.arange(spacing / 2, length, spacing) / length
    shares = np.where(places < 1 / 3, 1 - (1 - 3 * places) ** 2 / 1.5, 1 - (1.5 * places - 0.5) ** 2 / 1.5)
    side = LARGEST**0.5
    return Sections(shares.astype(np.float32)[:, None, None], (spacing, side, side))


def found(own: Sections, first: int, beyond: int = 0) -> np.ndarray:
    """Areas (SLICES,) of a structure from slice ``first`` on; its last slice goes on ``beyond`` its end."""
    areas = np.zeros(SLICES)
    grown = np.append(own.areas, np.full(beyond, own.areas[-1]))
    areas[first : first + len(grown)] = grown
    return areas


def masks(areas: np.ndarray) -> np.ndarray:
    """Logits (SLICES, SIZE, SIZE) of masks with a fourth as many pixels, surer the farther from their edge."""
    ranks = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
    return np.stack([(int(area / 4) - 0.5 - ranks) / 20 for area in areas])


def areas_of(logits: np.ndarray) -> np.ndarray:
    """What :func:`masks` was given."""
    return 4.0 * np.count_nonzero(logits > 0, axis=(1, 2))


def test_structures_are_alike_when_they_are_about_as_long() -> None:
    assert alike([egg(45), egg(51), egg(48)])
    assert alike([egg(45)])
    assert not alike([egg(45), egg(15), egg(90)])  # tumours
    assert not alike([egg(45), egg(90)])


KNOWN = [egg(45), egg(51), egg(48, spacing=1.5)]


@pytest.mark.parametrize("place", [0.33, 0.1, 0.75])
def test_the_ends_are_found_from_any_painted_slice(place: float) -> None:
    own = egg(48)
    areas = found(own, first=10, beyond=9)
    given = [10 + round(place * (len(own.areas) - 1))]
    usual = usual_in(KNOWN, areas, given, 3.0)
    assert usual is not None
    assert usual.first == pytest.approx(10, abs=1)
    assert usual.last == pytest.approx(25, abs=1)
    assert usual.areas[given[0]] == pytest.approx(areas[given[0]])
    assert usual.areas[13:24] == pytest.approx(areas[13:24], rel=0.15)


def test_a_slice_given_as_empty_counts() -> None:
    own = egg(48)
    areas = found(own, first=10, beyond=9)
    areas[26:] = 0
    with_it, without = usual_in(KNOWN, areas, [15, 26], 3.0), usual_in(KNOWN, areas, [15], 3.0)
    assert with_it is not None
    assert without is not None
    assert (with_it.first, with_it.last) == (without.first, without.last)
    assert usual_in(KNOWN, areas, [], 3.0) is None
    assert usual_in(KNOWN, np.zeros(SLICES), [27], 3.0) is None


def test_another_thing_of_that_name_has_no_usual_in() -> None:
    small = egg(12)
    areas = np.zeros(SLICES)
    areas[10:14] = small.areas / 9
    assert usual_in(KNOWN, areas, [11], 3.0) is None


def test_what_runs_on_is_ended() -> None:
    logits = masks(found(egg(48), first=10, beyond=9))
    areas = areas_of(logits)
    usual = usual_in(KNOWN, areas, [15], 3.0)
    assert usual is not None
    ends = end(logits, areas, [15], usual)
    present = np.flatnonzero(areas_of(logits)).tolist()
    assert present == list(range(10, ends["up"].slice))
    assert present[-1] == pytest.approx(25, abs=1)
    assert ends["up"].reason == USUAL_LENGTH
    assert set(ends) == {"up"}


def test_masks_that_have_worn_down_are_made_larger() -> None:
    areas = found(egg(48), first=10)
    worn = areas.copy()
    worn[18:] *= 0.7
    logits = masks(worn)
    usual = usual_in(KNOWN, areas_of(logits), [15], 3.0)
    assert usual is not None
    resize(logits, areas_of(logits), [15], usual, pixel=4.0)
    after = areas_of(logits)
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
    areas[25] *= 2
    usual = usual_in(KNOWN, areas, [15, 25], 3.0)
    assert usual is not None
    assert usual.areas[24] <= 1.75 * areas[24]
    assert usual.areas[15] == pytest.approx(areas[15])


def test_a_gap_in_other_volumes_does_no_harm() -> None:
    broken = egg(48)
    broken.filled[4:7] = 0
    areas = np.zeros(SLICES)
    areas[15] = 1.0
    known = [broken] * LEAST_VOLUMES
    usual = usual_in(known, areas, [15], 3.0)
    assert usual is None or np.isfinite(usual.areas).all()


def test_what_the_user_painted_beyond_stays_and_goes_on() -> None:
    logits = masks(found(egg(48), first=10, beyond=9))
    areas = areas_of(logits)
    usual = usual_in(KNOWN, areas, [15], 3.0)
    assert usual is not None
    assert usual.last < 33
    assert end(logits, areas, [15, 33], usual) == {}
    assert areas_of(logits).tolist() == areas.tolist()
