"""Shapes in other volumes, laid upon what was found here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from slmsam2.engine.lengths import usual_in
from slmsam2.engine.others import follow_others
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import END_OF_RANGE, END_OF_STRUCTURE, SAID_ABSENT, USUAL_LENGTH, Stop
from slmsam2.engine.shapes import NEITHER, Vote, usual_shape
from slmsam2.engine.spans import Span
from slmsam2.metrics import dice
from slmsam2.volume import Sections, SliceView, exemplar_of

pytestmark = pytest.mark.unit

SLICES, SIZE = 40, 48
SPACING = (2.0, 1.0, 1.0)


def banana(centre=(20.0, 24.0, 24.0), radii=(26.0, 9.0, 6.0), bend=8.0) -> np.ndarray:
    """Bool (SLICES, SIZE, SIZE); bent along the slices. Centre in pixels, the rest in mm."""
    z, y, x = (
        (one - middle) * mm
        for one, middle, mm in zip(np.indices((SLICES, SIZE, SIZE)), centre, SPACING, strict=True)
    )
    x = x - bend * (z / radii[0]) ** 2
    return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 < 1


def sections(stack: np.ndarray) -> Sections:
    view = SliceView((SIZE, SIZE, SLICES), np.diag([1.0, 1.0, 2.0, 1.0]), 2)
    exemplar = exemplar_of(stack, np.ones(SLICES, bool), view)
    assert exemplar is not None
    return exemplar.along(2)


OTHERS = [
    sections(banana(radii=(27, 9, 6))),
    sections(banana(radii=(25, 10, 6.5))),
    sections(banana(radii=(26, 9, 6), bend=9)),
]


def propagation(masks: np.ndarray, given: list[int]) -> Propagation:
    logits = torch.from_numpy(np.where(masks, 1.0, -1.0).astype(np.float32))[:, None]
    facts = torch.ones(len(masks), 1)
    ends = [None, *given, None]
    spans = [
        Span(low, high, 0 if low is None else low + 1, len(masks) - 1 if high is None else high - 1)
        for low, high in pairwise(ends)
    ]
    stops = {"up": Stop(len(masks) - 1, END_OF_RANGE), "down": Stop(0, END_OF_RANGE)}
    return Propagation([7], logits, facts, facts, facts, facts > 0, (SIZE, SIZE), {7: stops}, {7: spans})


def found_of(truth: np.ndarray) -> np.ndarray:
    """What lost the bend on the way from the middle, and runs on."""
    found = truth.copy()
    for index in range(26, SLICES):
        found[index] = truth[25]
    return found


@pytest.mark.parametrize(("column", "size"), [(24.0, 1.0), (20.0, 1.0), (26.0, 1.12)])
def test_masks_come_nearer_to_the_shape_wherever_it_lies(column: float, size: float) -> None:
    truth = banana(centre=(19.0, 25.0, column), radii=(26, 9 * size, 6 * size))
    found = found_of(truth)
    result = propagation(found, given=[19])
    follow_others(result, {7: OTHERS}, SPACING)
    masks = (result.low_res[:, 0] > 0).numpy()
    assert dice(found, truth) < 0.85
    assert dice(masks, truth) > dice(found, truth) + 0.05
    assert np.array_equal(masks[19], truth[19])
    assert result.told_by_others == {7}
    assert result.stops[7]["up"].reason == USUAL_LENGTH
    assert result.stops[7]["down"].reason == END_OF_RANGE


def test_likeness_tells_where_the_mask_is_wrong() -> None:
    truth = banana()
    found = truth.copy()
    found[12] = np.roll(truth[12], 7, axis=1)
    result = propagation(found, given=[20])
    follow_others(result, {7: OTHERS}, SPACING)
    likeness = result.likeness[7]
    assert likeness[12] < likeness[14] - 0.3
    assert likeness[[0, SLICES - 1]].tolist() == [1, 1]
    assert likeness.max() <= 1


def test_the_place_along_the_slices_is_corrected() -> None:
    """Areas that are the same throughout do not tell it, the bend does."""
    truth = banana(centre=(19.0, 24.0, 24.0))
    areas = truth.sum(axis=(1, 2)).astype(float)
    usual = usual_in(OTHERS, areas, [19], 2.0)
    assert usual is not None
    moved = type(usual)(
        usual.first,
        usual.last,
        usual.areas,
        usual.painted,
        usual.origin,
        tuple(
            type(one)(one.sections, one.position + 0.1 * one.sections.length, 0.0) for one in usual.volumes
        ),
    )
    there, back = usual_shape(usual, truth, SPACING), usual_shape(moved, truth, SPACING)
    assert there is not None
    assert back is not None
    assert dice(back.share > 0.5, truth) == pytest.approx(dice(there.share > 0.5, truth), abs=0.03)
    assert dice(there.share > 0.5, truth) > 0.9


def test_another_shape_has_no_say() -> None:
    """A tube of the same areas, which goes the other way."""
    truth = banana(bend=0)
    tube = np.zeros_like(truth)
    for index in range(SLICES):
        rows = (
            np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
            if index % 2
            else np.arange(SIZE * SIZE).reshape(SIZE, SIZE).T
        )
        tube[index] = rows < truth[index].sum()
    result = propagation(tube, given=[20])
    follow_others(result, {7: OTHERS}, SPACING)
    assert result.told_by_others == {7}
    assert result.likeness == {}


def test_a_single_volume_votes_but_ends_nothing() -> None:
    truth = banana()
    found = found_of(truth)
    result = propagation(found, given=[20])
    follow_others(result, {7: OTHERS[:1]}, SPACING)
    assert result.told_by_others == {7}
    assert dice((result.low_res[:, 0] > 0).numpy(), truth) >= dice(found, truth)
    assert (result.low_res[:, 0] > 0).any(dim=2).any(dim=1)[-1]
    assert {stop.reason for stop in result.stops[7].values()} == {END_OF_RANGE}


def test_the_other_one_of_a_pair_tells_the_ends_as_well() -> None:
    truth = banana(radii=(25, 9, 6))
    found = found_of(truth)
    twin = replace(OTHERS[0], kin="twin")
    results = [propagation(found, given=[20]) for _ in range(3)]
    for result, known in zip(results, ([twin], [twin, OTHERS[1]], OTHERS[:1]), strict=True):
        follow_others(result, {7: known}, SPACING)
    paired, both, single = (dice((result.low_res[:, 0] > 0).numpy(), truth) for result in results)
    assert min(paired, both) > single + 0.03
    assert [result.stops[7]["up"].reason for result in results] == [USUAL_LENGTH, USUAL_LENGTH, END_OF_RANGE]


def lost_at(stop: Stop, last: int = SLICES - 1, redone: int = 30) -> Propagation:
    """What was lost on the way up from the middle, on slice 29; the way ended with ``stop``, ``last`` bounding it."""
    found = banana()
    found[29:] = False
    result = propagation(found, given=[20])
    result.visited[33:] = False
    result.stops[7]["up"] = stop
    result.spans[7][-1] = Span(20, None, 21, last)
    result.redone[7] = set(range(21, redone + 1))
    return result


LOST = Stop(29, END_OF_STRUCTURE)


def test_the_other_one_of_a_pair_tells_what_was_lost() -> None:
    twin, truth = replace(OTHERS[0], kin="twin"), banana()
    there = np.flatnonzero(truth.any(axis=(1, 2)))[-1]
    result = lost_at(LOST)
    follow_others(result, {7: [twin]}, SPACING)
    masks = (result.low_res[:, 0] > 0).numpy()
    assert abs(np.flatnonzero(masks.any(axis=(1, 2)))[-1] - there) <= 1
    assert dice(masks[29:], truth[29:]) > 0.7
    assert result.visited[29:there].all()
    assert set(range(29, there)) <= result.redone[7]
    assert result.stops[7]["up"].reason == USUAL_LENGTH
    assert abs(result.stops[7]["up"].slice - there) <= 1
    assert result.stops[7]["down"].reason == END_OF_RANGE


def test_what_was_lost_before_is_not_new() -> None:
    result = lost_at(LOST, redone=25)
    follow_others(result, {7: [replace(OTHERS[0], kin="twin")]}, SPACING)
    assert (result.low_res[29, 0] > 0).any()
    assert max(result.redone[7]) == 25


@pytest.mark.parametrize(
    ("stop", "last", "known"),
    [
        (LOST, SLICES - 1, OTHERS),  # of other bodies
        (Stop(29, SAID_ABSENT), SLICES - 1, [replace(OTHERS[0], kin="twin")]),
        (Stop(28, END_OF_RANGE), 28, [replace(OTHERS[0], kin="twin")]),
    ],
)
def test_nothing_else_does(stop: Stop, last: int, known: list[Sections]) -> None:
    result = lost_at(stop, last)
    follow_others(result, {7: known}, SPACING)
    assert not (result.low_res[29:, 0] > 0).any()
    assert result.stops[7]["up"] == stop


def test_it_stays_in_the_range() -> None:
    result = lost_at(LOST, last=31)
    follow_others(result, {7: [replace(OTHERS[0], kin="twin")]}, SPACING)
    assert (result.low_res[29:32, 0] > 0).any(dim=2).any(dim=1).all()
    assert not (result.low_res[32:, 0] > 0).any()


def test_one_side_that_is_longer_leaves_other_volumes_their_say() -> None:
    result = propagation(found_of(banana()), given=[20])
    follow_others(result, {7: [*OTHERS, replace(longer(), kin="twin")]}, SPACING)
    assert result.told_by_others == {7}
    assert result.stops[7]["up"].reason == USUAL_LENGTH


def longer() -> Sections:
    """Half as long again."""
    return Sections(OTHERS[0].filled, (3.0, 1.0, 1.0))


@pytest.mark.parametrize("known", [[], [OTHERS[0], longer()], [*OTHERS, longer(), longer()]])
def test_without_volumes_that_are_alike_nothing_changes(known: list[Sections]) -> None:
    result = propagation(found_of(banana()), given=[20])
    before = result.low_res.clone()
    follow_others(result, {7: known}, SPACING)
    assert torch.equal(result.low_res, before)
    assert not result.told_by_others
    assert not result.likeness


def test_votes_are_as_sure_as_they_agree() -> None:
    share = np.zeros((2, 40, 40), np.float32)
    share[:, 10:30, 10:30] = 1
    share[1, 10:20, 10:30] = 0.5
    weights = np.array([0.25, 0.5])
    one, few, many = (Vote(share, count, weights).logits for count in (1, 3, 12))
    assert few[0, 20, 20] == pytest.approx(0.25 * np.log(7), rel=1e-3)
    assert few[1, 25, 20] == pytest.approx(0.5 * np.log(7), rel=0.05)
    assert few[0, 0, 0] == pytest.approx(-0.25 * np.log(7), rel=1e-3)
    assert few[1, 13, 20] == pytest.approx(0, abs=0.1)
    assert one[0, 20, 20] < few[0, 20, 20] < many[0, 20, 20]
    assert abs(one[0, 20, 11]) < abs(few[0, 20, 11]) / 2  # near its outline
    mask = np.zeros((2, 40, 40), bool)
    mask[0, 10:30, 10:20] = True
    assert Vote(share, 3, weights).agreement(mask) == pytest.approx(
        [(2 * 200 + NEITHER) / (200 + 400 + NEITHER), NEITHER / (300 + NEITHER)]
    )
