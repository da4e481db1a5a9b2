"""Prompts drawn from references: where clicks and boxes land, and how often what is given."""

import pytest
import torch

from slmsam2.training.prompts import PromptSettings, draw_plan, first_points, with_correction

pytestmark = pytest.mark.unit


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def masks():
    """Bool (2, 32, 40): a rectangle, and one pixel."""
    masks = torch.zeros(2, 32, 40, dtype=torch.bool)
    masks[0, 4:10, 20:36] = True
    masks[1, 31, 0] = True
    return masks


def test_a_click_is_inside_its_mask(masks, generator):
    for _ in range(20):
        points = first_points("point", masks, generator)
        assert points["point_coords"].shape == (2, 1, 2)
        assert points["point_labels"].tolist() == [[1], [1]]
        x, y = points["point_coords"][0, 0].long().tolist()
        assert masks[0, y, x]
        assert points["point_coords"][1, 0].tolist() == [0.5, 31.5]


def test_a_box_lies_around_its_mask(masks, generator):
    points = first_points("box", masks, generator)
    assert points["point_labels"].tolist() == [[2, 3], [2, 3]]
    (left, top), (right, bottom) = points["point_coords"][0].tolist()
    assert (left, right) == (pytest.approx(20, abs=1.6), pytest.approx(36, abs=1.6))
    assert (top, bottom) == (pytest.approx(4, abs=0.6), pytest.approx(10, abs=0.6))


def test_corrections_go_where_it_is_wrong(masks, generator):
    found = masks.clone()
    found[0, 4:10, 20:24] = False  # missed
    found[1, 0, 39] = True  # too much
    points = with_correction(None, found, masks, generator)
    x, y = points["point_coords"][0, 0].long().tolist()
    assert 20 <= x < 24
    assert 4 <= y < 10
    assert points["point_coords"][1, 0].tolist() == [39.5, 0.5]
    assert points["point_labels"].tolist() == [[1], [0]]
    more = with_correction(points, found, masks, generator)
    assert more["point_coords"].shape == (2, 2, 2)


def test_plans_follow_their_probabilities(generator):
    plans = [draw_plan(PromptSettings(0.3, 0.2, 2, 0.5), 4, generator) for _ in range(600)]
    share = {kind: sum(plan.kind == kind for plan in plans) / 600 for kind in ("mask", "point", "box")}
    assert share == pytest.approx({"mask": 0.5, "point": 0.3, "box": 0.2}, abs=0.07)
    assert all(0 not in plan.clicks for plan in plans if plan.kind == "mask")
    assert {plan.clicks.get(0, 0) for plan in plans} == {0, 1, 2}
    later = [index for plan in plans for index in plan.clicks if index]
    assert set(later) == {1, 2, 3}
    assert len(later) / 600 == pytest.approx(0.5, abs=0.07)


def test_by_default_only_masks(generator):
    plan = draw_plan(PromptSettings(), 2, generator)
    assert plan.kind == "mask"
    assert not plan.clicks
