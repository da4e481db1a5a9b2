"""What was found along rows or columns, brought to the slices."""

import itertools

import numpy as np
import pytest
import torch

from slmsam2.engine.crossing import (
    Crossings,
    beyond_ends,
    crossing_of,
    lines_of,
    lines_on,
    mix,
    planes_between,
)
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.regions import Region
from slmsam2.engine.settings import Settings
from slmsam2.metrics import dice
from slmsam2.volume import SliceView

pytestmark = pytest.mark.unit

SHAPE = (18, 22, 26)
MASK_SIZE = 16
ORIENTATIONS = [
    np.diag([*signs, 1.0])[[*order, 3]]
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1.0, -1.0], repeat=3)
]


def propagated(view, region, mask, score=5.0):
    """As a propagation that has found ``mask``, bool (I, J, K), everywhere along the view."""
    stack = region.cut(view.to_stack(np.where(mask, 4.0, -4.0))).astype(np.float32)
    size = (MASK_SIZE, MASK_SIZE)
    logits = torch.nn.functional.interpolate(torch.from_numpy(stack.copy())[:, None], size, mode="area")
    slices = len(logits)
    return Propagation(
        objects=[3],
        low_res=logits,
        object_score=torch.full((slices, 1), score),
        iou=torch.full((slices, 1), 0.9),
        agreement=torch.full((slices, 1), torch.nan),
        visited=torch.ones(slices, 1, dtype=torch.bool),
        out_size=region.size,
        redone={3: {4, 5}},
    )


@pytest.fixture
def structure():
    """Of no symmetry."""
    mask = np.zeros(SHAPE, bool)
    mask[3:12, 4:15, 5:14] = True
    mask[3:15, 4:9, 5:20] = True
    return mask


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("affine", ORIENTATIONS)
def test_found_where_it_is_in_every_orientation(structure, affine, dimension):
    view = SliceView(SHAPE, affine, 2)
    other = view.across(dimension)
    height, width = other.slice_shape
    region = Region(1, height - 1, 2, width, (height, width))
    plane = np.flatnonzero(other.to_stack(structure).any(axis=(1, 2)))[2]
    prompts = {int(plane): other.to_stack(structure)[plane]}
    crossing = crossing_of(
        propagated(other, region, structure), region, prompts, range(other.num_slices), view, dimension, None
    )
    places = [np.arange(size, dtype=float) for size in (view.num_slices, *view.slice_shape)]
    assert dice(crossing.at(places) > 0, view.to_stack(structure)) > 0.95
    row = int(np.argmax(crossing.weights))
    assert other.stack_index(view.stored_index(row, dimension)) == plane


@pytest.mark.parametrize("affine", ORIENTATIONS[::7])
def test_planes_that_were_left_out_are_between_the_others(structure, affine):
    view = SliceView(SHAPE, affine, 2)
    other = view.across(1)
    height, width = other.slice_shape
    whole = Region(0, height, 0, width, (height, width))
    planes = [plane for plane in range(other.num_slices) if plane % 3 == 1]
    every = propagated(other, whole, structure)
    few = propagated(other, whole, structure)
    few.low_res, few.visited = every.low_res[planes], every.visited[planes]
    few.object_score, few.iou, few.agreement = (
        few.object_score[planes],
        few.iou[planes],
        few.agreement[planes],
    )
    prompts = {2: other.to_stack(structure)[planes[2]]}
    crossing = crossing_of(few, whole, prompts, planes, view, 1, None)
    places = [np.arange(size, dtype=float) for size in (view.num_slices, *view.slice_shape)]
    assert dice(crossing.at(places) > 0, view.to_stack(structure)) > 0.85
    given = view.stack_index(other.stored_index(planes[2]), 1)
    assert int(crossing.along(crossing.weights, places).argmax()) == given


def test_planes_as_close_as_a_structure_needs_them():
    mask = np.zeros((40, 300), bool)
    mask[10:20, 20:276] = True  # 205 mm
    planes = planes_between({7: mask, 9: np.zeros_like(mask)}, 30, (0.8, 3.0, 0.8))
    assert planes == sorted({*range(0, 30, 4), 7, 9})
    assert planes_between({7: mask[:, :100]}, 8, (0.8, 3.0, 0.8)) == list(range(8))


def test_the_better_one_counts_more(structure):
    """Found from slice to slice is nothing beyond the painted slice; along the rows all."""
    view = SliceView(SHAPE, np.eye(4), 2)
    other = view.across(1)
    height, width = other.slice_shape
    whole = Region(0, height, 0, width, (height, width))
    planes = {7: other.to_stack(structure)[7]}
    found = crossing_of(
        propagated(other, whole, structure), whole, planes, range(other.num_slices), view, 1, None
    )
    crossings = Crossings({}, {3: [found]}, None)
    height, width = view.slice_shape
    region = Region(0, height, 0, width, (height, width))
    wrong = propagated(view, region, np.zeros_like(structure), score=3.0)
    given = view.to_stack(structure)[8]
    wrong.low_res[8] = propagated(view, region, structure).low_res[8]
    wrong.visited[12:] = False
    mix(wrong, region, {3: {8: given}}, crossings, 1.0, Settings())
    masks = np.stack([(wrong.slice_logits(s)[0] > 0).numpy() for s in range(SHAPE[2])])
    assert dice(masks, view.to_stack(structure)) > 0.9
    assert wrong.visited[13]
    assert not wrong.visited[24]
    assert 0.3 < wrong.expected[3][12] < 1
    assert wrong.redone[3] == {4, *np.flatnonzero(view.to_stack(structure).any(axis=(1, 2)))} - {8}


@pytest.mark.parametrize(
    ("settings", "reached"),
    [(Settings(first=6, last=10), range(6, 11)), (Settings(down=False), range(8, 26))],
    ids=["range", "direction"],
)
def test_other_planes_do_not_lead_where_it_may_not_go(structure, settings, reached):
    view = SliceView(SHAPE, np.eye(4), 2)
    other = view.across(1)
    regions = [Region(0, v.slice_shape[0], 0, v.slice_shape[1], v.slice_shape) for v in (view, other)]
    planes = {7: other.to_stack(structure)[7]}
    found = crossing_of(
        propagated(other, regions[1], structure), regions[1], planes, range(SHAPE[1]), view, 1, None
    )
    result = propagated(view, regions[0], structure)
    result.visited[:] = False
    result.visited[8] = True
    before = result.low_res.clone()
    mix(
        result,
        regions[0],
        {3: {8: view.to_stack(structure)[8]}},
        Crossings({}, {3: [found]}),
        1.0,
        settings,
    )
    visited = set(result.visited.flatten().nonzero().flatten().tolist())
    shown = set(np.flatnonzero(view.to_stack(structure).any(axis=(1, 2))).tolist())
    assert visited == shown & set(reached)
    outside = sorted(set(range(SHAPE[2])) - set(reached))
    assert torch.equal(result.low_res[outside], before[outside])
    assert result.redone[3] <= set(reached) | {4, 5}


def test_without_other_planes_nothing_changes(structure):
    view = SliceView(SHAPE, np.eye(4), 2)
    height, width = view.slice_shape
    region = Region(0, height, 0, width, (height, width))
    result = propagated(view, region, structure)
    before = result.low_res.clone()
    mix(result, region, {3: {8: view.to_stack(structure)[8]}}, Crossings(), 1.0, Settings())
    assert torch.equal(before, result.low_res)
    assert not result.expected


def test_lines():
    row, column = np.zeros((4, 6), bool), np.zeros((4, 5), bool)
    row[1, 2:4] = column[2, 3] = True
    across = {1: {0: row}, 2: {5: column}}
    given, inside = lines_on(1, across, (4, 5, 6))
    assert given.sum() == 5 + 6 - 1
    assert np.argwhere(inside).tolist() == [[0, 2], [0, 3]]
    assert np.argwhere(lines_of(across, (4, 5, 6))).tolist() == [[0, 2], [0, 3], [3, 5]]


def test_a_plane_without_the_structure_ends_it():
    shape = (4, 8, 9)
    prompt = np.zeros(shape[1:], bool)
    prompt[3:6, 2:5] = True
    row, column = np.zeros((4, 9), bool), np.zeros((4, 8), bool)
    beyond = beyond_ends({1: {6: row}}, {1: prompt}, shape)
    assert beyond[6:].all()
    assert not beyond[:6].any()
    beyond = beyond_ends({1: {1: row}, 2: {7: column}}, {1: prompt}, shape)
    assert beyond[:1].all()
    assert beyond[:, 7:].all()
    assert not beyond[1:, :7].any()
    assert not beyond_ends({1: {4: row}}, {1: prompt}, shape).any()  # given on both sides
    column[1, 7] = True
    assert not beyond_ends({1: {6: row}, 2: {3: column}}, {1: prompt}, shape).any()
