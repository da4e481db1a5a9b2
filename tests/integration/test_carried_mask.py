"""The neighbouring slice's mask, mixed into what the decoder gives."""

import pytest
import torch
import torch.nn.functional as F

from slmsam2.modeling.network import MIXED_LIMIT
from slmsam2.training.clip import encode_clips, run_clip

pytestmark = pytest.mark.integration


@pytest.fixture
def masks():
    """bool (1, 1, 2, 64, 64)"""
    painted = torch.zeros(1, 1, 2, 64, 64, dtype=torch.bool)
    painted[..., 20:40, 12:44] = True
    return painted


@pytest.fixture
def decoded(network, frames, masks, monkeypatch):
    """A function: logits (n, n) of slice 1 when the mask of slice 0 counts so much."""

    @torch.no_grad()
    def run(weight):
        monkeypatch.setattr(network, "carried_weight", weight)
        return run_clip(network, encode_clips(network, frames[None, :2]), masks).masks[0][0, 0]

    return run


def test_the_mask_is_the_weighted_mean_with_the_one_carried_over(decoded, masks):
    alone, mixed = decoded(0.0), decoded(3.0)
    whole = 20 * masks[0, :, 0, None].float() - 10
    painted = F.interpolate(whole, size=alone.shape, mode="bilinear", antialias=True)[0, 0]
    expected = (alone + 3 * painted.clamp(-MIXED_LIMIT, MIXED_LIMIT)) / 4
    assert torch.allclose(mixed, expected, atol=1e-3)
    assert not torch.allclose(mixed, alone, atol=0.1)


def test_what_had_vanished_may_come_back(decoded, network, monkeypatch):
    nothing = torch.full((1, 1, 16, 16), -10.0)
    monkeypatch.setattr(network, "carried_mask", lambda *_args, **_kwargs: nothing)
    assert torch.equal(decoded(0.0), decoded(3.0))
