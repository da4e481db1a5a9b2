"""Directions, several painted slices, stop rules and the bound on memory."""

import numpy as np
import pytest
import torch
from small_network import set_overlap, set_presence

from slmsam2.engine import Settings, propagate_frames
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.settings import Stop
from slmsam2.engine.tracker import ObjectTracker, square_mask
from slmsam2.errors import ConfigurationError, PromptError

pytestmark = pytest.mark.integration


@pytest.fixture
def absent(network):
    set_presence(network, -4.0)
    yield network
    set_presence(network, 4.0)


def run(network, frames, prompts, **settings):
    return propagate_frames(network, frames, prompts, out_size=(40, 50), settings=Settings(**settings))


def test_all_slices_are_visited_and_logits_have_the_slices_size(network, frames, square):
    result = propagate_frames(network, frames, {7: {4: square}}, out_size=(40, 50))
    assert result.visited.all()
    assert result.logits.shape == (12, 1, 40, 50)
    assert result.objects == [7]
    assert torch.equal(result.logits[3], result.slice_logits(3))
    assert result.object_score.shape == result.iou.shape == (12, 1)
    assert result.stops[7]["up"].slice == 11
    assert result.stops[7]["down"].reason == "end of the range"


def test_directions_do_not_see_each_other_unless_published(network, frames, square):
    both = run(network, frames, {1: {5: square}})
    down = run(network, frames, {1: {5: square}}, up=False)
    published = run(network, frames, {1: {5: square}}, order="published")
    assert torch.equal(both.low_res[:5], down.low_res[:5])
    assert not down.visited[6:].any()
    assert torch.equal(both.low_res[5:], published.low_res[5:])
    assert not torch.allclose(both.low_res[:5], published.low_res[:5])


def test_between_painted_slices_the_nearer_direction_counts_more(network, frames, square):
    prompts = {1: {2: square, 6: np.roll(square, 4, axis=1)}}
    both = run(network, frames, prompts)
    up = run(network, frames, prompts, down=False).low_res.clamp(-10, 10)
    down = run(network, frames, prompts, up=False).low_res.clamp(-10, 10)
    assert not torch.allclose(up[3], down[3])
    torch.testing.assert_close(both.low_res[3], 0.75 * up[3] + 0.25 * down[3])
    torch.testing.assert_close(both.low_res[5], 0.25 * up[5] + 0.75 * down[5])
    torch.testing.assert_close(both.low_res[8].clamp(-10, 10), up[8])


def test_each_object_has_slices_of_its_own(network, frames, square):
    other = np.roll(square, 6, axis=0)
    together = run(network, frames, {1: {2: square}, 2: {9: other}})
    alone = run(network, frames, {2: {9: other}})
    assert together.objects == [1, 2]
    assert torch.equal(together.low_res[:, 1], alone.low_res[:, 0])


def test_absent_object_ends_both_directions(absent, frames, square):
    result = run(absent, frames, {1: {5: square}}, stop_after=2)
    assert result.visited[:, 0].nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    assert result.stops[1]["up"].reason == "end of the structure"
    assert (result.stops[1]["up"].slice, result.stops[1]["down"].slice) == (6, 4)
    assert (result.logits[7] < 0).all()
    assert (result.logits[11] < 0).all()


def test_after_its_end_an_object_goes_on_from_the_next_painted_slice(absent, frames, square):
    result = run(absent, frames, {1: {1: square, 8: square}}, stop_after=2, down=False)
    assert result.visited[:, 0].nonzero().flatten().tolist() == [1, 2, 3, 8, 9, 10]


def test_slice_range(network, frames, square):
    result = run(network, frames, {1: {5: square}}, first=3, last=6)
    assert result.visited[:, 0].nonzero().flatten().tolist() == [3, 4, 5, 6]
    with pytest.raises(PromptError, match="outside the slice range"):
        run(network, frames, {1: {9: square}}, first=3, last=6)
    with pytest.raises(PromptError, match="does not fit a volume of 12"):
        run(network, frames, {1: {5: square}}, last=12)


def test_nothing_painted_and_unknown_order(network, frames, square):
    for prompts in ({}, {1: {}}):
        with pytest.raises(PromptError, match="Nothing is painted"):
            run(network, frames, prompts)
    with pytest.raises(ConfigurationError, match="Unknown order"):
        propagate_frames(network, frames, {1: {0: square}}, out_size=(40, 50), order="sideways")


def test_memory_does_not_grow_with_the_volume(network, square):
    frames = torch.randn((40, 3, 64, 64), generator=torch.Generator().manual_seed(2))
    tracker = ObjectTracker(network, FeatureCache(network, frames, max_bytes=1))
    with torch.inference_mode():
        tracker.prompt(0, square)
        for index in range(1, 40):
            tracker.advance(index, reverse=False)
            tracker.forget_beyond((index, 0))
            assert len(tracker.bank["non_cond_frame_outputs"]) <= 2 * (network.memory_reach + 1)
    assert 39 in tracker.bank["non_cond_frame_outputs"]
    assert 20 not in tracker.bank["non_cond_frame_outputs"]


def test_dropping_memory_changes_nothing(network, frames, square, monkeypatch):
    dropped = run(network, frames, {1: {0: square}})
    monkeypatch.setattr(ObjectTracker, "forget_beyond", lambda self, anchors: None)
    assert torch.equal(run(network, frames, {1: {0: square}}).low_res, dropped.low_res)


def test_features_are_computed_once_per_slice(network, frames, square, monkeypatch):
    encoded = []
    encode = FeatureCache._encode
    monkeypatch.setattr(FeatureCache, "_encode", lambda self, i: encoded.append(i) or encode(self, i))
    run(network, frames, {1: {2: square, 6: square}, 2: {5: square}})
    assert sorted(encoded) == list(range(12))


def test_progress_counts_to_its_total_and_can_cancel(network, frames, square):
    seen = []
    propagate_frames(
        network, frames, {1: {2: square, 6: square}}, out_size=(40, 50), progress=lambda *at: seen.append(at)
    )
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        propagate_frames(network, frames, {1: {2: square}}, out_size=(40, 50), progress=cancel)
    assert network.recent_n == 1


def test_recent_n_is_for_this_run_only(network, frames, square):
    one = propagate_frames(network, frames, {1: {2: square}}, out_size=(40, 50))
    two = propagate_frames(network, frames, {1: {2: square}}, out_size=(40, 50), recent_n=2)
    assert not torch.allclose(one.low_res, two.low_res)
    assert network.recent_n == 1


def test_a_structure_of_one_pixel_survives_shrinking():
    mask = np.zeros((512, 512), bool)
    mask[100, 200] = True
    small = square_mask(mask, 64)
    assert small.sum() >= 1
    assert small[0, 0, 12, 25] == 1
    assert square_mask(np.zeros((512, 512), bool), 64).sum() == 0


def test_a_mask_that_the_network_hardly_believes_in_is_none(network, frames, square):
    set_overlap(network, -3.0)  # it expects an overlap of 0.05
    try:
        result = propagate_frames(
            network, frames, {1: {5: square}}, out_size=square.shape, settings=Settings(stop_after=3)
        )
    finally:
        set_overlap(network, 4.0)
    assert network.inference.least_overlap > 0.05
    assert result.stops[1]["up"] == Stop(6, "end of the structure")
    assert result.stops[1]["down"] == Stop(4, "end of the structure")
    assert (result.low_res[[4, 6]] < 0).all()
