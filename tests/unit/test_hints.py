"""Marks drawn from references: where clicks, strokes and boxes land, and masks to be corrected."""

import pytest
import torch

from slmsam2.modeling.outliner import SIDE
from slmsam2.training.hints import KINDS, first_hints, spoilt, with_click

pytestmark = pytest.mark.unit


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def masks():
    """Bool (2, SIDE, SIDE): a rectangle, and a small one in a corner."""
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    masks[0, 40:80, 20:70] = True
    masks[1, -3:, :2] = True
    return masks


def first(kind, masks, generator):
    shares = {one: float(one == kind) for one in KINDS}
    return first_hints(shares, masks.float() * 0.5 + 0.2, masks, generator)


def on(mask, hints, number):
    """Whether each point of a slice lies on its mask."""
    x, y = hints.points[number].long().unbind(-1)
    return mask[number, y, x].tolist()


def test_a_click_is_on_its_structure(masks, generator):
    for _ in range(20):
        hints = first("click", masks, generator)
        assert hints.inside.tolist() == [[True], [True]]
        assert on(masks, hints, 0) == on(masks, hints, 1) == [True]
        assert hints.box is None
        assert hints.prior is None


def test_most_clicks_go_to_the_middle(masks, generator):
    rows = torch.stack([first("click", masks, generator).points[0, 0, 1] for _ in range(60)])
    assert 0.5 < ((rows > 55) & (rows < 65)).float().mean() < 0.95


def test_a_box_lies_around_its_structure(masks, generator):
    corners = torch.stack([first("box", masks, generator).box for _ in range(40)])
    torch.testing.assert_close(corners[:, 0].mean(dim=0), torch.tensor([20.0, 40, 70, 80]), atol=2, rtol=0)
    assert (corners[:, 0].std(dim=0) > 0.5).all()
    assert first("box", masks, generator).points.shape == (2, 0, 2)


def test_a_box_begins_with_something_in_it(masks, generator):
    begun = [first("box", masks, generator).prior > 0 for _ in range(40)]
    assert not torch.stack(begun)[:, 0, :, 80:].any()
    shares = torch.stack([(mask & masks).sum() / mask.sum().clamp_min(1) for mask in begun])
    assert shares.mean() > 0.6
    assert len({int(mask.sum()) for mask in begun}) > 20


def test_strokes_say_what_they_are_on(masks, generator):
    for _ in range(20):
        hints = first("strokes", masks, generator)
        assert hints.inside[:, 0].all()
        assert on(masks, hints, 0) == hints.inside[0].tolist()


def test_a_mask_comes_with_a_click_where_it_is_wrong(masks, generator):
    for _ in range(20):
        hints = first("mask", masks, generator)
        found = hints.prior > 0
        assert on(masks, hints, 0) == hints.inside[0].tolist()
        assert on(found, hints, 0) != on(masks, hints, 0) or (found[0] == masks[0]).all()


def test_a_click_corrects_what_is_wrong(masks, generator):
    found = masks.clone()
    found[0, 40:80, 70:90] = True
    found[1] = masks[1]
    hints = with_click(first("click", masks, generator), found, masks, generator)
    assert hints.inside.tolist() == [[True, False], [True, True]]  # where nothing is wrong: on the structure
    x, y = hints.points[0, 1].tolist()
    assert 70 < x < 90
    assert 40 < y < 80


def test_spoilt_masks_are_like_them_and_differ(masks, generator):
    large = masks[:1].expand(64, -1, -1)
    found = spoilt(large, generator)
    overlap = 2 * (found & large).sum(dim=(1, 2)) / (found.sum(dim=(1, 2)) + large.sum(dim=(1, 2)))
    assert 0.5 < overlap.median() < 0.97
    assert (overlap < 0.999).all()
    share = found.float().mean(dim=(1, 2)) / large.float().mean(dim=(1, 2))
    assert share.min() < 0.7 < 1.3 < share.max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_marks(kind, masks):
    one, other = (first(kind, masks, torch.Generator().manual_seed(5)) for _ in range(2))
    for name, value in vars(one).items():
        same = vars(other)[name]
        assert value is same is None or torch.equal(value, same)
