"""Regions per structure: small ones are looked at closely, those that leave are followed."""

import numpy as np
import pytest

from slmsam2.engine import Settings, structures
from slmsam2.engine.regions import region_around
from slmsam2.engine.structures import propagate_structures
from slmsam2.modeling import InferenceSettings
from slmsam2.volume import Window

pytestmark = pytest.mark.integration

WINDOW = Window(50, 100)


@pytest.fixture
def stack():
    return np.random.default_rng(0).uniform(0, 100, (4, 120, 100)).astype(np.float32)


@pytest.fixture
def painted():
    mask = np.zeros((120, 100), bool)
    mask[50:66, 40:56] = True
    return mask


@pytest.fixture
def seen_sizes(monkeypatch):
    """Sizes of the regions that were propagated in."""
    sizes = []
    propagate = structures.propagate_frames
    monkeypatch.setattr(
        structures,
        "propagate_frames",
        lambda *args, out_size, **more: sizes.append(out_size) or propagate(*args, out_size=out_size, **more),
    )
    return sizes


@pytest.fixture
def run(network, stack, monkeypatch):
    """Propagates {value: {slice: mask}} with a given margin."""

    def propagate(prompts, margin, progress=None):
        monkeypatch.setattr(network, "inference", InferenceSettings(crop_margin=margin))
        return propagate_structures(
            network, stack, WINDOW, prompts, (1.0, 1.0, 1.0), Settings(), progress=progress
        )

    return propagate


def test_without_a_margin_all_share_whole_slices(run, painted, seen_sizes):
    found = run({1: {1: painted}, 2: {2: np.roll(painted, 20, axis=0)}}, margin=None)
    assert seen_sizes == [(120, 100)]
    assert found[0].propagation.objects == [1, 2]
    assert found[0].slice_logits(0)[2].shape == (120, 100)


def test_a_network_may_be_shown_more_contrast(network, stack, painted, monkeypatch):
    monkeypatch.setattr(network, "inference", InferenceSettings(contrast=1.25))
    windows, make = [], structures.Frames
    monkeypatch.setattr(
        structures,
        "Frames",
        lambda stack, window, size: windows.append((window.low, window.high)) or make(stack, window, size),
    )
    propagate_structures(network, stack, WINDOW, {1: {1: painted}}, (1.0, 1.0, 1.0), Settings())
    assert windows == [(10, 90)]


def test_each_structure_gets_its_region(run, painted, monkeypatch):
    monkeypatch.setattr(structures, "_is_cut_off", lambda result, region: False)
    found = run({1: {1: painted}, 2: {2: np.roll(painted, 20, axis=0)}}, margin=0.75)
    assert sorted(part.region.top for part in found) == [38, 58]
    logits = found[0].slice_logits(0)
    [(_, values)] = logits.items()
    assert np.isfinite(values).sum() == 40 * 40
    assert (values == -np.inf).sum() == values.size - 40 * 40


def test_the_largest_prompt_decides_on_the_region_while_all_lie_in_it(run, painted, monkeypatch):
    monkeypatch.setattr(structures, "_is_cut_off", lambda result, region: False)
    smaller, far = np.zeros_like(painted), np.zeros_like(painted)
    smaller[60:72, 50:60] = True
    far[80:90, 80:90] = True
    alone, beside, apart = (
        run({1: prompts}, margin=0.75)[0].region
        for prompts in ({1: painted}, {1: painted, 2: smaller}, {1: painted, 2: far})
    )
    assert beside == alone
    assert apart == region_around([painted, far], (1.0, 1.0), 0.75)


def test_a_structure_at_the_edge_is_followed_in_a_wider_region(run, painted, seen_sizes, monkeypatch):
    monkeypatch.setattr(structures, "_is_cut_off", lambda result, region: region.size[0] < 100)
    ticks = []
    found = run({1: {1: painted}}, margin=0.75, progress=lambda *at: ticks.append(at))
    assert seen_sizes == [(40, 40), (80, 80), (120, 100)]
    assert [part.region.is_whole for part in found] == [True]
    assert [done for done, _ in ticks] == list(range(1, 13))
    assert ticks[-1] == (12, 12)


def test_what_counts_as_cut_off(run, painted):
    found = run({1: {1: painted}}, margin=None)[0].propagation
    region = region_around([painted], (1.0, 1.0), 0.75)
    found.low_res[:] = -5
    assert not structures._is_cut_off(found, region)
    found.low_res[2, 0, :, 0] = 5
    assert structures._is_cut_off(found, region)


def test_smoothing_takes_out_what_is_on_one_slice_only_and_fills_holes(run, painted):
    result = run({1: {1: painted}}, margin=None)[0].propagation
    result.low_res[:] = -1024.0
    result.low_res[1:, 0, 2:14, 2:14] = 8.0
    result.low_res[2, 0, 7, 7] = -3.0
    result.low_res[2, 0, 15, 15] = 2.0
    structures.smooth(result, 1.0)
    assert result.low_res[2, 0, 7, 7] > 0
    assert result.low_res[2, 0, 15, 15] < 0
    assert result.low_res[3, 0, 8, 8] > 1.4


def test_smoothing_leaves_what_is_thin_from_slice_to_slice(run, painted):
    result = run({1: {1: painted}}, margin=None)[0].propagation
    result.low_res[:] = -8.0
    result.low_res[:, 0, 5, :] = 1.0
    structures.smooth(result, 1.5)
    assert (result.low_res[:, 0, 5] > 0).all()
    assert (result.low_res[:, 0, 6] < 0).all()
