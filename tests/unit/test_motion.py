"""The flow between slices: direction, size, and what it does to a mask."""

import pytest
import torch
import torch.nn.functional as F

from slmsam2.modeling.motion import Motion, flow_between, moved, thumbnails

pytestmark = pytest.mark.unit


@pytest.fixture
def picture():
    """A smooth random image with structure everywhere, float32 (1, 1, 64, 64)."""
    noise = torch.randn((1, 1, 12, 12), generator=torch.Generator().manual_seed(5))
    return F.interpolate(noise, size=(64, 64), mode="bicubic", align_corners=False)


def test_finds_a_translation(picture):
    shifted = picture.roll((2, -5), dims=(-2, -1))  # 2 down, 5 to the left
    flow = flow_between(shifted, picture)
    inner = flow[..., 12:-12, 12:-12]
    assert inner[:, 0].mean().item() == pytest.approx(5, abs=0.2)
    assert inner[:, 1].mean().item() == pytest.approx(-2, abs=0.2)
    assert (moved(picture, flow) - shifted)[..., 12:-12, 12:-12].abs().mean() < 0.05


def test_equal_and_empty_images_do_not_move(picture):
    assert flow_between(picture, picture).abs().max() < 1e-3
    flat = torch.zeros(1, 1, 64, 64)
    assert flow_between(flat, flat).abs().max() == 0


def test_does_not_depend_on_contrast(picture):
    shifted = picture.roll(3, dims=-1)
    one, other = flow_between(shifted, picture), flow_between(0.01 * shifted, 0.01 * picture)
    assert torch.allclose(one, other, atol=0.05)


def test_each_pair_of_a_batch_by_itself(picture):
    there = torch.cat([picture, picture.roll(3, dims=-2)])
    here = torch.cat([picture.roll(4, dims=-1), picture])
    together = flow_between(here, there)
    for index in range(2):
        alone = flow_between(here[index : index + 1], there[index : index + 1])
        assert torch.allclose(together[index : index + 1], alone, atol=1e-4)


def test_thumbnails_are_grey_and_small():
    frames = torch.rand(2, 3, 32, 32)
    small = thumbnails(frames, 8)
    assert small.shape == (2, 1, 8, 8)
    assert small.mean().item() == pytest.approx(frames[:, 0].mean().item(), abs=0.02)


@pytest.mark.parametrize("shift", [0.5, 0.3])
def test_a_mask_that_is_surer_outside_than_inside_keeps_its_size(shift):
    line = torch.arange(64.0) - 32
    # a disc: pixels from its edge
    within = 9.3 - (line.square()[:, None] + line.square()).sqrt()[None, None]
    logits = torch.tanh(within) * torch.where(within > 0, 1.0, 8.0)
    found = Motion(torch.full((1, 2, 64, 64), shift), torch.ones(1, 1, 64, 64)).carry(logits)
    assert (found > 0).sum().item() == pytest.approx((logits > 0).sum().item(), rel=0.04)
    assert (found.min().item(), found.max().item()) == pytest.approx((-8, 1), rel=0.15)


def test_nothing_carried_stays_nothing_and_does_not_spoil_the_others():
    nothing, disc = torch.full((1, 1, 64, 64), -8.0), torch.full((1, 1, 64, 64), -8.0)
    disc[..., 20:40, 20:40] = 3
    both = torch.cat([nothing, disc])
    still = Motion(torch.zeros(2, 2, 64, 64), torch.ones(2, 1, 64, 64)).carry(both)
    assert still[0].max().item() <= 0
    assert torch.allclose(still, both, atol=1e-3)
