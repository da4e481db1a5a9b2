"""Whole structures as exemplars for other volumes: their orientation, areas, centres, and what is not whole."""

import numpy as np
import pytest

from slmsam2.volume import Exemplar, Sections, SliceView, exemplar_of

pytestmark = pytest.mark.unit

AFFINES = {
    "RAS": np.diag([1.0, 2.0, 3.0, 1.0]),
    "LPS": np.diag([-1.0, -2.0, 3.0, 1.0]),
    "SRA": np.array([[0, -2.0, 0, 0], [0, 0, 1.0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]]),
}


def something(shape):
    """Without any symmetry."""
    array = np.zeros(shape, bool)
    array[3:9, 4:8, 2:5] = True
    array[3, 5:12, 2] = True
    array[5, 4, 2:12] = True
    return array


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("drawn", [0, 1, 2])
@pytest.mark.parametrize("seen", [0, 1, 2])
def test_it_is_turned_as_slices_are_along_every_axis(affine, drawn, seen):
    array = something((14, 15, 16))
    views = [SliceView(array.shape, affine, axis) for axis in (drawn, seen)]
    exemplar = exemplar_of(views[0].to_stack(array), np.ones(array.shape[drawn], bool), views[0])
    sections = exemplar.along(views[1].patient_axis)
    stack = views[1].to_stack(array)
    box = tuple(
        slice(found.min(), found.max() + 1) for found in np.nonzero(stack)
    )  # in the stack's own directions
    assert np.array_equal(sections.filled, stack[box])
    assert sections.cell == pytest.approx(views[1].spacing)
    present = np.flatnonzero(stack.any(axis=(1, 2)))
    pixel = views[1].spacing[1] * views[1].spacing[2]
    assert sections.areas == pytest.approx(stack[present[0] : present[-1] + 1].sum(axis=(1, 2)) * pixel)
    assert sections.length == pytest.approx(len(present) * views[1].spacing[0])


def test_large_ones_are_kept_in_fewer_cells():
    array = np.zeros((70, 210, 110), bool)
    array[3:67, 5:205, 10:100] = True
    view = SliceView(array.shape, np.eye(4), 0)
    exemplar = exemplar_of(view.to_stack(array), np.ones(70, bool), view)
    assert exemplar.cells.shape == (48, 48, 48)
    sections = exemplar.along(0)
    assert sections.length == pytest.approx(64)
    assert sections.areas == pytest.approx(np.full(48, 200 * 90))


def test_areas_and_centres_lie_between_those_of_sections():
    filled = np.zeros((2, 4, 4), np.float32)
    filled[0, 0, :2] = 1
    filled[1, 2:, 3] = [1, 0.5]
    sections = Sections(filled, (2.0, 1.0, 3.0))
    assert sections.areas.tolist() == [6, 4.5]
    assert sections.areas_at(np.array([[-1.0, 0.0, 1.0], [2.0, 3.0, 6.0]])).tolist() == [
        [0, 3, 6],
        [5.25, 4.5, 0],
    ]
    centres = sections.centres_at(np.array([-5.0, 1.0, 2.0, 3.0]))
    assert centres == pytest.approx(np.array([[0.5, 3], [0.5, 3], [1.6667, 6.75], [2.8333, 10.5]]), abs=1e-3)


def test_a_section_without_anything_has_a_centre_between():
    filled = np.zeros((3, 4, 4), np.float32)
    filled[0, 0, 0] = filled[2, 2, 2] = 1
    assert Sections(filled, (1.0, 1.0, 1.0)).centres_at(np.array([1.5])).tolist() == [[1.5, 1.5]]


def test_what_is_not_whole_is_none():
    array = something((14, 15, 16))
    view = SliceView(array.shape, np.eye(4), 2)
    known = np.ones(16, bool)
    assert isinstance(exemplar_of(view.to_stack(array), known, view), Exemplar)
    known[12] = False  # somebody stopped painting there
    assert exemplar_of(view.to_stack(array), known, view) is None
    assert exemplar_of(np.zeros((16, 15, 14), bool), np.ones(16, bool), view) is None
    for cut in (array[:, :, :12], array[:, :, 2:], array[6:], array[:6]):  # the image ends there
        view = SliceView(cut.shape, np.eye(4), 2)
        assert exemplar_of(view.to_stack(cut), np.ones(cut.shape[2], bool), view) is None
    tip = array[:, :11]  # a small part of it is outside
    view = SliceView(tip.shape, np.eye(4), 2)
    assert exemplar_of(view.to_stack(tip), np.ones(16, bool), view) is not None
