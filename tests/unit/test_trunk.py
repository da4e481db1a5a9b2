"""The trunk that projects no filler gives what the sam2 package's gives."""

import pytest
import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.position_encoding import PositionEmbeddingSine

from slmsam2.modeling import trunk
from slmsam2.modeling.trunk import KeptPositions, LeanHiera

pytestmark = pytest.mark.unit


@pytest.fixture
def pair():
    """The package's trunk and ours with the same random weights."""
    shape = {"embed_dim": 16, "stages": (1, 2, 3, 2), "global_att_blocks": (4,)}
    torch.manual_seed(0)
    theirs, ours = Hiera(**shape).eval(), LeanHiera(**shape).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("size", [64, 128, 256])
@torch.no_grad()
def test_same_as_the_package(pair, size, monkeypatch):
    """At 64 and 128 no window of the later stages is full; at 256 those of the first are."""
    theirs, ours = pair
    own_way = []
    attend = trunk._attend_in_windows
    monkeypatch.setattr(trunk, "_attend_in_windows", lambda *args: own_way.append(1) or attend(*args))
    images = torch.randn(2, 3, size, size)
    for found, expected in zip(ours(images), theirs(images), strict=True):
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert own_way


def test_gradients_are_those_of_the_package(pair):
    theirs, ours = pair
    images = torch.randn(1, 3, 128, 128)
    for network in pair:
        sum(level.square().mean() for level in network(images)).backward()
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6), name


@torch.no_grad()
def test_changed_weights_change_the_position_embedding(pair):
    theirs, ours = pair
    images = torch.randn(1, 3, 64, 64)
    before = ours(images)[0]
    for network in pair:
        network.pos_embed.add_(1.0)
    assert not torch.allclose(ours(images)[0], before)
    assert torch.allclose(ours(images)[0], theirs(images)[0], atol=1e-5)


def test_one_position_encoding_for_all_of_a_batch():
    maps = torch.zeros(3, 5, 6, 7)
    ours = KeptPositions(num_pos_feats=8)
    found = ours(maps)
    assert torch.equal(found, PositionEmbeddingSine(num_pos_feats=8)(maps))
    assert found.stride(0) == 0
    assert found.data_ptr() == ours(maps[:1]).data_ptr()
