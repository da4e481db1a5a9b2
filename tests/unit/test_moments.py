"""Moments of many pixels say as much as the pixels, as far as a ridge regression goes."""

from __future__ import annotations

import pytest
import torch

from slmsam2.modeling import Moments

pytestmark = pytest.mark.unit

PIXELS, FEATURES = 400, 6


def pixels_of(seed: int, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (P, C), targets that the first of them mostly tells, and weights."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(PIXELS, FEATURES, generator=generator) + shift
    noise = torch.randn(PIXELS, generator=generator)
    targets = torch.where(pixels[:, 0] - shift + 0.3 * noise > 0.5, 1.0, -1.0)
    return pixels, targets, torch.rand(PIXELS, generator=generator)


def together(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> Moments:
    return Moments.of(*(torch.cat(parts) for parts in zip(one, other, strict=True)))


def same(one: Moments, other: Moments) -> bool:
    pairs = zip(one.tensors().values(), other.tensors().values(), strict=True)
    return all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    one, other = pixels_of(0), pixels_of(1, shift=2.0)
    assert same(Moments.of(*one) + Moments.of(*other), together(one, other))


def test_a_share_makes_one_part_count_more() -> None:
    one, other = pixels_of(0), pixels_of(1, shift=2.0)
    heavier = (other[0], other[1], other[2] * 3 * one[2].sum() / other[2].sum())
    mixed = Moments.of(*one).mixed(Moments.of(*other), 0.75)
    expected = together(one, heavier)
    assert torch.allclose(mixed.products, expected.products, atol=1e-4)
    assert torch.allclose(mixed.cross, expected.cross, atol=1e-4)
    assert torch.equal(Moments.of(*one).mixed(Moments.of(*other), 0.0).cross, Moments.of(*one).cross)


def test_the_regression_tells_the_target() -> None:
    pixels, targets, weights = pixels_of(2)
    coefficients, constant = Moments.of(pixels, targets, weights).ridge()
    told = pixels @ coefficients + constant
    assert coefficients.abs().argmax() == 0
    assert ((told > 0) == (targets > 0)).float().mean() > 0.85


def test_the_penalty_does_not_depend_on_the_scale_of_a_feature() -> None:
    pixels, targets, weights = pixels_of(3)
    scale = torch.tensor([1.0, 100.0, 1.0, 20.0, 1.0, 1.0])
    plain, scaled = (Moments.of(p, targets, weights).ridge()[0] for p in (pixels, pixels * scale))
    assert torch.allclose(plain, scaled * scale, atol=1e-2)


def test_they_are_told_apart() -> None:
    one = Moments.of(*pixels_of(4))
    assert one.digest() == Moments(**one.tensors()).digest()
    assert one.digest() != Moments.of(*pixels_of(5)).digest()
