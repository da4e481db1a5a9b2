"""The shorter way through memory attention gives what the sam2 package's module gives."""

import pytest
import torch
from sam2.modeling.sam.transformer import RoPEAttention

from slmsam2.modeling import attention
from slmsam2.modeling.attention import MemoryReadingAttention, rotate, weighted_means

pytestmark = pytest.mark.unit

SIDE, POINTERS = 24, 12


@pytest.fixture
def pair():
    """The package's module and ours with the same random weights."""
    shape = {"embedding_dim": 32, "num_heads": 1, "kv_in_dim": 8, "rope_k_repeat": True}
    torch.manual_seed(0)
    theirs = RoPEAttention(**shape, feat_sizes=(SIDE, SIDE)).eval()
    ours = MemoryReadingAttention(**shape, feat_sizes=(SIDE, SIDE)).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def tokens(batch, memories):
    """Tokens of a slice, and those of memories and pointers as keys and as values."""
    generator = torch.Generator().manual_seed(1)
    keys = memories * SIDE**2 + POINTERS
    return [
        torch.randn(shape, generator=generator)
        for shape in ((batch, SIDE**2, 32), (batch, keys, 8), (batch, keys, 8))
    ]


@pytest.mark.parametrize(("batch", "memories"), [(1, 1), (1, 4), (2, 3)])
@torch.no_grad()
def test_same_as_the_package(pair, batch, memories):
    theirs, ours = pair
    given = tokens(batch, memories)
    kept = [one.clone() for one in given]
    expected = theirs(*given, num_k_exclude_rope=POINTERS)
    assert ours._pays(*given[:2])
    found = ours(*given, num_k_exclude_rope=POINTERS)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert expected.std() > 1e-2
    assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))


def test_the_package_s_own_way_where_gradients_are_wanted(pair):
    theirs, ours = pair
    given = tokens(1, 1)
    assert torch.equal(ours(*given, num_k_exclude_rope=POINTERS), theirs(*given, num_k_exclude_rope=POINTERS))


@torch.no_grad()
def test_encodings_follow_another_image_size(pair):
    theirs, ours = pair
    query, memory = torch.randn(1, 32**2, 32), torch.randn(1, 2 * 32**2, 8)
    assert (ours(query, memory, memory) - theirs(query, memory, memory)).abs().max() < 1e-5


def test_weighted_means_of_large_scores(monkeypatch):
    """Blocks that do not divide the tokens, and scores whose exponentials would overflow."""
    monkeypatch.setattr(attention, "QUERIES", 7)
    monkeypatch.setattr(attention, "KEYS", 5)
    generator = torch.Generator().manual_seed(2)
    queries, keys = (20 * torch.randn((n, 6), generator=generator) for n in (17, 23))
    values = torch.randn((23, 3), generator=generator)
    expected = torch.softmax(queries.double() @ keys.double().t(), dim=1) @ values.double()
    assert (queries @ keys.t()).max() > 500
    assert (weighted_means(queries, keys, values) - expected).abs().max() < 1e-4


def test_rotation_leaves_pointers_alone():
    keys = torch.ones(1, 9, 4)
    rotate(keys[:, :8], torch.polar(torch.ones(4, 2), torch.full((4, 2), torch.pi / 2)))
    assert torch.allclose(keys[0, :8], torch.tensor([-1.0, 1.0, -1.0, 1.0]))
    assert torch.equal(keys[0, 8], torch.ones(4))
