"""What was given before stays in force: over requests with a range, and when the viewer's own undo went back."""

import numpy as np
import pytest
from server_studies import painted_slice
from slicer_module import scribbles, slices_of, smart_edit

pytestmark = pytest.mark.server

PAINTED = 7
LIVER = (14, 18)  # a voxel (i, j) inside the liver on the slices 4 to 10


@pytest.fixture
def painted(truth):
    return painted_slice(truth, PAINTED) == 1


@pytest.fixture
def first(slicer, painted, tmp_path):
    """The first proposal, on the slices 3 to 11."""
    array, _ = scribbles(slicer, tmp_path, painted, "liver")
    assert slices_of(array) == [*range(3, 12)]
    return array


def corrected(array, *slices):
    """An array with a corner of these slices turned into its opposite."""
    edited = array.copy()
    for index in slices:
        edited[12:18, 15:22, index] ^= 1
    return edited


def painted_in(reply):
    return reply["report"]["structures"]["liver"]["painted"]


@pytest.mark.parametrize(
    ("span", "there"),
    [((8, 12), [9]), ((6, 12), [PAINTED, 9])],  # with and without the painted slice; 4 is outside of both
)
def test_what_is_outside_of_the_range_counts_again_without_one(slicer, painted, first, tmp_path, span, there):
    edited = corrected(first, 4, 9)
    ranged, reply = scribbles(slicer, tmp_path, edited, "liver", first_slice=span[0], last_slice=span[1])
    assert painted_in(reply) == there
    np.testing.assert_array_equal(ranged[:, :, : span[0]], edited[:, :, : span[0]])
    everywhere, reply = scribbles(slicer, tmp_path, ranged, "liver")
    assert painted_in(reply) == [4, PAINTED, 9]
    for index in (4, PAINTED, 9):
        np.testing.assert_array_equal(everywhere[:, :, index], edited[:, :, index])


@pytest.mark.parametrize(
    ("options", "free"),
    [({"first_slice": 8, "last_slice": 12}, range(8, 13)), ({"direction": "forward"}, range(PAINTED, 14))],
)
def test_clicks_leave_the_slices_alone_that_they_are_not_to_change(slicer, first, options, free):
    array, _ = smart_edit(slicer, "slmsam2_points", [[*LIVER, 10]], **options)
    others = [index for index in range(array.shape[2]) if index not in free]
    np.testing.assert_array_equal(array[:, :, others], first[:, :, others])


def test_beside_a_box_over_several_slices_only_what_was_painted_stays(slicer, painted, first, tmp_path):
    array, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 10]], roi=[5, 23, 8, 28, 9, 11])
    assert painted_in(reply) == [10]
    assert set(slices_of(array)) == {PAINTED, 9, 10, 11}
    np.testing.assert_array_equal(array[:, :, PAINTED], painted[:, :, PAINTED])
    everywhere, reply = scribbles(slicer, tmp_path, array, "liver")
    assert painted_in(reply) == [PAINTED, 10]
    np.testing.assert_array_equal(everywhere[:, :, PAINTED], painted[:, :, PAINTED])


@pytest.mark.parametrize("back", [1, 2])
def test_the_viewers_undo_goes_back_to_an_earlier_proposal(slicer, first, tmp_path, back):
    proposals, said = [first], [[PAINTED]]
    for index in (9, 5):
        array, reply = scribbles(slicer, tmp_path, corrected(proposals[-1], index), "liver")
        assert painted_in(reply) == sorted([*said[-1], index])
        proposals.append(array)
        said.append(painted_in(reply))
    undone = proposals[-1 - back]
    assert np.count_nonzero((undone != proposals[-1]).any(axis=(0, 1))) > 1
    array, reply = scribbles(slicer, tmp_path, corrected(undone, 10), "liver")
    assert painted_in(reply) == sorted([*said[-1 - back], 10])
    before, _ = scribbles(slicer, tmp_path, array, "liver", undo=True)
    np.testing.assert_array_equal(before, proposals[-1])


def test_undo_of_a_segment_that_was_emptied(slicer, painted, first, tmp_path):
    back, reply = scribbles(slicer, tmp_path, 0 * first, "liver", undo=True)
    assert reply["undone"] == ["liver"]
    np.testing.assert_array_equal(back, painted)


def test_clicks_on_a_plane_that_was_corrected_count(slicer, first, tmp_path):
    """3D Slicer shows such a plane, so that it is clicked on."""
    edited = first.copy()
    edited[LIVER[0], 14:22, 3:12] ^= 1
    array, reply = scribbles(slicer, tmp_path, edited, "liver")
    assert reply["report"]["structures"]["liver"]["painted_across"] == {"0": [LIVER[0]]}
    inside, outside = (LIVER[0], 18, 5), (LIVER[0], 24, 8)
    assert (array[inside], array[outside]) == (0, 1)
    marked, _ = smart_edit(slicer, "slmsam2_points", [inside], [outside])
    assert (marked[inside], marked[outside]) == (1, 0)
    edited[inside], edited[outside] = 1, 0
    np.testing.assert_array_equal(marked[LIVER[0]], edited[LIVER[0]])
