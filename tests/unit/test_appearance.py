"""What a structure looks like on the given slices, told from what lies around it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from slmsam2.engine.appearance import (
    CARRIED_ON,
    CHANCE,
    IN_RESULT,
    LIMIT,
    NEAR,
    Appearance,
    Say,
    corrected,
    looks_of,
)
from slmsam2.engine.features import SliceFeatures

SIZE = 32


def disc(row: float, column: float, radius: float) -> torch.Tensor:
    """float32 (1, 1, SIZE, SIZE) of zeros and ones."""
    line = torch.arange(SIZE).float()
    inside = (line[:, None] - row).square() + (line - column).square() <= radius**2
    return inside.float()[None, None]


def features_of(structure: torch.Tensor, seed: int) -> SliceFeatures:
    """A fine level that shows the structure in one of its noisy channels, a coarse one that shows nothing."""
    generator = torch.Generator().manual_seed(seed)
    fine = 0.3 * torch.randn(1, 8, SIZE, SIZE, generator=generator)
    fine[:, 3:4] += 2 * structure
    coarse = torch.randn(1, 16, SIZE // 4, SIZE // 4, generator=generator)
    levels = [fine, coarse]
    return SliceFeatures(
        feats=[level.flatten(2).permute(2, 0, 1) for level in levels],
        pos=[torch.empty(0)] * 2,
        sizes=[(SIZE, SIZE), (SIZE // 4, SIZE // 4)],
        thumbnail=0.1 * structure,
    )


def logits_of(mask: torch.Tensor) -> torch.Tensor:
    return 20 * mask - 10


def after(appearance: Appearance, logits: torch.Tensor, features: SliceFeatures, say: Say) -> torch.Tensor:
    return corrected(logits, appearance.of(features, SIZE), say)


@pytest.fixture(scope="module")
def appearance() -> Appearance:
    given = disc(14, 14, 7)
    return Appearance([(features_of(given, 0), logits_of(given))])


def test_other_slices_are_told_by_it(appearance: Appearance) -> None:
    there = disc(18, 16, 6)
    looks = appearance.of(features_of(there, 1), SIZE)
    assert looks.shape == (1, 1, SIZE, SIZE)
    assert looks[there > 0].mean() > 0.5
    assert looks[there == 0].mean() < -0.5
    assert looks.abs().max() <= LIMIT


def test_levels_may_be_weighed_before_they_are_enlarged(appearance: Appearance) -> None:
    features = features_of(disc(18, 16, 6), 1)
    enlarged = [
        F.interpolate(level.permute(1, 2, 0).unflatten(-1, size), (SIZE, SIZE), mode="bilinear")
        for level, size in zip(features.feats, features.sizes, strict=True)
    ]
    large = SliceFeatures(
        feats=[level.flatten(2).permute(2, 0, 1) for level in enlarged],
        pos=features.pos,
        sizes=[(SIZE, SIZE)] * 2,
        thumbnail=features.thumbnail,
    )
    assert torch.allclose(appearance.of(features, SIZE), appearance.of(large, SIZE), atol=1e-4)


def test_what_has_leaked_is_taken_away(appearance: Appearance) -> None:
    there = disc(14, 12, 5)
    leaked = (there + disc(14, 19, 4)).clamp(max=1)
    # far from a prompt the network is little sure of what it finds, and sure of what it does not
    found = torch.where(leaked > 0, torch.tensor(1.0), torch.tensor(-8.0))
    found[(leaked > 0) & (there == 0)] = 0.2
    changed = after(appearance, found, features_of(there, 2), IN_RESULT) > 0
    leak = (leaked > 0) & (there == 0)
    assert changed[leak].float().mean() < 0.2
    assert changed[there > 0].float().mean() > 0.95


def test_what_looks_alike_elsewhere_is_left_out(appearance: Appearance) -> None:
    there, elsewhere = disc(8, 8, 5), disc(24, 24, 5)
    features = features_of((there + elsewhere).clamp(max=1), 3)
    changed = after(appearance, logits_of(there), features, IN_RESULT)
    far = F.max_pool2d(there, 2 * NEAR + 1, 1, NEAR) == 0
    assert (changed[far] < 0).all()
    assert changed[there > 0].max() <= 10 * (1 + IN_RESULT.in_favour * LIMIT) + 1e-3


def test_nothing_found_stays_nothing(appearance: Appearance) -> None:
    nothing = torch.full((1, 1, SIZE, SIZE), -3.0)
    assert torch.equal(after(appearance, nothing, features_of(disc(14, 14, 7), 4), IN_RESULT), nothing)


STRUCTURE, NEIGHBOUR = disc(14, 14, 6), disc(14, 26, 4)


def with_neighbour(seed: int) -> SliceFeatures:
    """The structure, and beside it something as bright, which another channel tells from it."""
    features = features_of(STRUCTURE, seed)
    features.feats[0][:, 0, 3] += 2 * NEIGHBOUR.flatten()
    features.feats[0][:, 0, 5] += 5 * NEIGHBOUR.flatten()
    return replace(features, thumbnail=0.1 * (STRUCTURE + NEIGHBOUR))


def test_several_given_slices_count() -> None:
    """A second one says that what the first one could not know of is none of the structure."""
    one = Appearance([(features_of(STRUCTURE, 5), logits_of(STRUCTURE))])
    two = Appearance(
        [
            (features_of(STRUCTURE, 5), logits_of(STRUCTURE)),
            (with_neighbour(6), logits_of(STRUCTURE)),
        ]
    )
    seen = with_neighbour(7)
    neighbour = NEIGHBOUR > 0
    assert one.of(seen, SIZE)[neighbour].mean() > 0
    assert two.of(seen, SIZE)[neighbour].mean() < 0


def test_what_was_learnt_elsewhere_counts() -> None:
    """Other volumes had the neighbour; the painted slice has not."""
    learnt = looks_of(with_neighbour(6), logits_of(STRUCTURE)) + looks_of(
        with_neighbour(8), logits_of(STRUCTURE)
    )
    appearance = Appearance([(features_of(STRUCTURE, 5), logits_of(STRUCTURE))], learnt)
    looks = appearance.of(with_neighbour(7), SIZE)
    assert looks[NEIGHBOUR > 0].mean() < 0
    assert looks[STRUCTURE > 0].mean() > 0.5


def test_looks_that_disagree_with_the_painted_slice_do_not_count() -> None:
    """The same name for something else: there the structure is what is dark here."""
    given = [(features_of(STRUCTURE, 5), logits_of(STRUCTURE))]
    inverse = looks_of(features_of(STRUCTURE, 6), -logits_of(STRUCTURE))
    seen = features_of(STRUCTURE, 7)
    assert torch.equal(Appearance(given, inverse).of(seen, SIZE), Appearance(given).of(seen, SIZE))


@pytest.mark.parametrize(("agreement", "counts"), [(CHANCE, False), (CHANCE + 0.01, True)])
def test_looks_that_agree_little_do_not_count(
    agreement: float, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of other people agree a little with anybody's painted slice, and cost more than they bring."""
    monkeypatch.setattr("slmsam2.engine.appearance._agreement", lambda *of: agreement)
    given = [(features_of(STRUCTURE, 5), logits_of(STRUCTURE))]
    learnt, seen = looks_of(with_neighbour(6), logits_of(STRUCTURE)), with_neighbour(7)
    alike = torch.equal(Appearance(given, learnt).of(seen, SIZE), Appearance(given).of(seen, SIZE))
    assert alike is not counts


def test_a_slice_past_an_end_is_all_surroundings() -> None:
    nothing = looks_of(features_of(STRUCTURE, 6), torch.full((1, 1, SIZE, SIZE), -10.0))
    there = looks_of(features_of(STRUCTURE, 6), logits_of(STRUCTURE))
    assert float(nothing.target) == pytest.approx(-1)
    assert float(there.target) == pytest.approx(0, abs=1e-5)
    assert float(nothing.weight) == pytest.approx(float(there.weight) / 2)


def test_a_structure_that_fills_the_slice_does_no_harm() -> None:
    everything = torch.ones(1, 1, SIZE, SIZE)
    appearance = Appearance([(features_of(everything, 8), logits_of(everything))])
    found = after(appearance, logits_of(everything), features_of(everything, 9), CARRIED_ON)
    assert torch.isfinite(found).all()
    assert (found > 0).all()
