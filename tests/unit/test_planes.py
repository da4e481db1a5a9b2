"""In which planes somebody painted, and what is given there."""

import numpy as np
import pytest

from slmsam2.planes import box_of, crossing_planes, sketched_planes
from slmsam2.prompts import Known, Marks, chosen_in, corrected_in, corrected_planes, painted_in
from slmsam2.volume import painted_axis

pytestmark = pytest.mark.unit

SHAPE = (20, 24, 28)
NOWHERE = np.zeros(SHAPE, bool)


@pytest.fixture
def block():
    mask = NOWHERE.copy()
    mask[2:18, 4:20, 5:25] = True
    return mask


@pytest.fixture
def known(block):
    return Known(2, block & on({0: [9]}), block, {9: block[9]})


def on(planes):
    """The voxels of planes, by dimension."""
    mask = NOWHERE.copy()
    for dimension, indices in planes.items():
        np.moveaxis(mask, dimension, 0)[indices] = True
    return mask


def edited(came, covered, known):
    """What an edited proposal gives."""
    return corrected_in(came, covered, known, corrected_planes(came, covered, known.returned))


@pytest.mark.parametrize(
    "planes", [{1: [8]}, {2: [11]}, {0: [5], 1: [8]}, {0: [9, 12], 1: [8], 2: [11]}, {1: [7, 12]}]
)
def test_few_planes_hold_it(block, planes):
    assert crossing_planes(block & on(planes)) == planes


@pytest.mark.parametrize(
    "painted",
    [
        on({0: [3]}),
        on({0: [3, 4, 5, 6, 7]}),
        on({1: list(range(4, 14))}),
        np.ones(SHAPE, bool),
        NOWHERE,
    ],
    ids=["one slice", "five slices", "half of it", "all of it", "nothing"],
)
def test_slices_or_a_whole(block, painted):
    assert crossing_planes(block & painted) is None


def test_the_box_around_a_structure(block):
    assert box_of(block) == (slice(2, 18), slice(4, 20), slice(5, 25))
    assert block[box_of(block)].all()
    assert block[box_of(NOWHERE)].size == 0
    assert corrected_planes(NOWHERE, NOWHERE, NOWHERE) is None


def test_a_ball_was_painted_slice_by_slice():
    grid = np.mgrid[:20, :24, :28]
    ball = ((grid - np.reshape([10, 12, 14], (3, 1, 1, 1))) ** 2).sum(axis=0) < 5**2
    assert crossing_planes(ball) is None


@pytest.mark.parametrize("width", [2, 3])
def test_a_vessel_filled_by_hand_was_painted_slice_by_slice(width):
    vessel = NOWHERE.copy()
    vessel[2:18, 8 : 8 + width, 10 : 10 + width] = True
    assert crossing_planes(vessel) is None
    vessel[19, 3:9, 3:9] = True
    assert crossing_planes(vessel) is None


def test_two_columns_side_by_side_of_a_structure(block):
    differs = block & on({2: [11, 12]})
    assert crossing_planes(differs, structure=block) == {2: [11, 12]}
    assert crossing_planes(differs, structure=differs) is None


def test_slices_side_by_side_and_a_row(block):
    planes = {0: [9, 10], 1: [8]}
    assert crossing_planes(block & on(planes)) == planes


def test_a_line_across_slices_says_nothing_of_a_plane(block):
    line = NOWHERE.copy()
    line[4:14, 9, 11] = True
    assert crossing_planes(line, structure=block) is None
    line[4:14, 9, 12] = True
    assert crossing_planes(line, structure=block) == {1: [9]}


def test_a_sketch_crosses_itself(block):
    planes = {0: [9], 1: [8], 2: [11]}
    assert sketched_planes(block & on(planes)) == planes
    assert sketched_planes(block & on({1: [8]})) is None  # painted along that, as it is taken elsewhere
    vessel = NOWHERE.copy()
    vessel[1:19, 8:11, 10:13] = True
    assert sketched_planes(vessel) is None
    vessel[9, 4:20, 5:25] = True
    assert sketched_planes(vessel) is None


def test_the_axis_of_a_sketch(block):
    assert painted_axis(block & on({0: [9], 1: [8]}), default=0) == 0
    assert painted_axis(block & on({1: [8, 12], 2: [11]}), default=0) == 1
    assert painted_axis(block & on({0: [9], 2: [8, 12, 16]}), default=1) == 2


def test_what_a_sketch_gives(block):
    said = painted_in(block & on({0: [9], 1: [8, 14], 2: [11]}))
    assert list(said.slices) == [9]
    assert {along: list(planes) for along, planes in said.across.items()} == {1: [8, 14], 2: [11]}
    np.testing.assert_array_equal(said.slices[9], block[9])
    np.testing.assert_array_equal(said.across[1][8], block[:, 8])
    np.testing.assert_array_equal(said.across[2][11], block[:, :, 11])


def test_a_proposal_corrected_in_another_plane(block, known):
    came = block.copy()
    came[:, 8] = False
    came[3:16, 8, 6:20] = True
    assert corrected_planes(came, NOWHERE, block) == {1: [8]}
    said = edited(came, NOWHERE, known)
    assert list(said.slices) == [9]
    np.testing.assert_array_equal(said.slices[9], came[9])  # where they cross, what was painted last counts
    np.testing.assert_array_equal(said.across[1][8], came[:, 8])


def test_corrections_in_several_planes(block, known):
    came = block.copy()
    came[5, 6:12, 8:20] = False
    came[2:18, 10, 25:27] = True
    said = edited(came, NOWHERE, known)
    assert list(said.slices) == [9, 5]
    assert list(said.across) == [1]
    again = Known(2, came, came, said.slices, across=said.across)
    came = came.copy()
    came[6:16, 5:9, 13] = False
    said = edited(came, NOWHERE, again)
    assert {along: list(planes) for along, planes in said.across.items()} == {1: [10], 2: [13]}
    np.testing.assert_array_equal(said.across[1][10], came[:, 10])


def test_what_lies_over_a_plane_hides_it(block, known):
    came, covered = block.copy(), NOWHERE.copy()
    came[4:9, 8, 8:12] = False
    covered[4:9, 8, 8:12] = True
    came[10:16, 8, 20:25] = False
    said = edited(came, covered, known)
    assert said.across[1][8][5, 9]
    assert not said.across[1][8][12, 22]


def test_what_lies_over_a_plane_hides_it_for_as_long_as_it_does(block):
    given, covered = {9: block[9]}, NOWHERE.copy()
    covered[4:9, 8, 8:12] = True
    shown = block & ~covered  # as it was sent back, and comes: another structure has these voxels
    known = Known(2, shown, shown, given, across={1: {8: block[:, 8]}})
    said = edited(shown, covered, known)
    np.testing.assert_array_equal(said.across[1][8], block[:, 8])
    free = edited(shown, NOWHERE, known)  # the other one was erased
    np.testing.assert_array_equal(free.across[1][8], shown[:, 8])


def test_painted_again_where_it_was_hidden_on_a_slice(block):
    """Another structure was painted over it on the slice that was given, and it over that in another plane."""
    shown = block.copy()
    shown[9, 4:12, 6:12] = False  # as it was sent back: another structure has these voxels
    known = Known(2, shown, shown, {9: block[9]})
    covered, came = block & ~shown, shown.copy()
    covered[9, 8] = False
    came[:, 8, :20] = True
    said = edited(came, covered | came, known)
    assert said.slices[9][8, :20].all()
    assert said.slices[9][6, 8]
    assert list(said.across) == [1]


def test_a_thin_structure_that_is_begun_anew():
    vessel = NOWHERE.copy()
    vessel[1:19, 8:10, 10:12] = True
    anew = NOWHERE.copy()
    anew[4, 14:18, 14:18] = True
    assert corrected_planes(anew, NOWHERE, vessel) is None


def test_marks_under_a_plane_stay(block):
    marks = Marks(block[9], ~block[9])
    known = Known(2, block, block, {9: marks})
    came = block.copy()
    came[:, 8] = False
    assert edited(came, NOWHERE, known).slices[9] is marks


def test_planes_that_are_named(block):
    said = chosen_in(block, {0: [9, 5], 2: [11]})
    assert list(said.slices) == [5, 9]
    np.testing.assert_array_equal(said.across[2][11], block[:, :, 11])
