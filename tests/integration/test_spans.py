"""Each prompt changes the slices up to the next ones and no more; what is known is not computed again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_network import set_presence

from slmsam2.engine import Settings, Workspace, propagate_frames, propagate_volume
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.spans import Span, blend
from slmsam2.engine.tracker import ObjectTracker
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.modeling import InferenceSettings
from slmsam2.prompts import Marks

pytestmark = pytest.mark.integration

EMPTY = np.zeros((40, 50), bool)


@pytest.fixture
def other(square):
    return np.roll(square, 5, axis=1)


def run(network, frames, prompts, workspace=None, **settings):
    features = FeatureCache(network, frames, workspace=workspace)
    return propagate_frames(
        network, frames, prompts, out_size=(40, 50), settings=Settings(**settings), features=features
    )


def click(inside=(), outside=(), **more):
    marks = [EMPTY.copy(), EMPTY.copy()]
    for mask, places in zip(marks, (inside, outside), strict=True):
        for row, column in places:
            mask[row, column] = True
    return Marks(*marks, **more)


def test_a_prompt_changes_nothing_beyond_its_neighbours(network, frames, square, other):
    before = run(network, frames, {1: {2: square, 8: other}})
    after = run(network, frames, {1: {2: square, 5: other, 8: other}})
    for index in (0, 1, 2, 8, 9, 10, 11):
        assert torch.equal(before.low_res[index], after.low_res[index])
    for index in (3, 4, 5, 6, 7):
        assert not torch.equal(before.low_res[index], after.low_res[index])


def test_with_a_workspace_the_answer_is_the_same_and_only_the_span_is_computed(
    network, frames, square, other
):
    workspace = Workspace()
    first = run(network, frames, {1: {2: square, 8: other}}, workspace)
    assert first.redone == {1: set(range(12))}
    again = run(network, frames, {1: {2: square, 8: other}}, workspace)
    assert again.redone == {1: set()}
    assert torch.equal(first.low_res, again.low_res)
    corrected = {1: {2: square, 5: other, 8: other}}
    with_it = run(network, frames, corrected, workspace)
    assert with_it.redone == {1: {3, 4, 5, 6, 7}}
    without = run(network, frames, corrected)
    for name in ("low_res", "object_score", "iou", "visited"):
        assert torch.equal(getattr(with_it, name), getattr(without, name))
    assert torch.allclose(with_it.agreement, without.agreement, equal_nan=True)


def test_ways_from_the_prompts_before_are_cut_off_and_not_gone_again(
    network, frames, square, other, monkeypatch
):
    workspace, steps = Workspace(), []
    advance = ObjectTracker.advance
    monkeypatch.setattr(
        ObjectTracker,
        "advance",
        lambda self, index, **how: steps.append(index) or advance(self, index, **how),
    )
    for prompts, gone in (
        ({2: square}, [*range(3, 12), 1, 0]),
        ({2: square, 8: other}, [*range(9, 12), *range(7, 2, -1)]),
        ({2: square}, []),
        ({2: square, 5: square, 8: other}, [6, 7, 4, 3]),
        ({5: square}, [*range(6, 12), *range(4, -1, -1)]),
    ):
        steps.clear()
        found = run(network, frames, {1: prompts}, workspace)
        assert sorted(steps) == sorted(gone)
        assert torch.equal(found.low_res, run(network, frames, {1: prompts}).low_res)


def test_a_workspace_tells_networks_images_and_settings_apart(network, frames, square):
    workspace = Workspace()
    run(network, frames, {1: {2: square}}, workspace)
    assert run(network, frames + 0.01, {1: {2: square}}, workspace).redone[1] == set(range(12))
    assert run(network, frames, {1: {2: square}}, workspace, stop_after=3).redone[1] == set(range(12)) - {2}
    assert run(network, frames, {1: {2: np.roll(square, 1)}}, workspace).redone[1] == set(range(12))
    network.short_branch = False
    try:
        assert run(network, frames, {1: {2: square}}, workspace).redone[1] == set(range(12)) - {2}
    finally:
        network.short_branch = True


def test_features_are_shared_between_requests(network, frames, square, other, monkeypatch):
    encoded = []
    encode = FeatureCache._encode
    monkeypatch.setattr(FeatureCache, "_encode", lambda self, i: encoded.append(i) or encode(self, i))
    workspace = Workspace()
    run(network, frames, {1: {2: square}}, workspace)
    run(network, frames, {5: {9: other}}, workspace)
    assert sorted(encoded) == list(range(12))
    small = Workspace(feature_bytes=1)
    run(network, frames, {1: {2: square}}, small)
    assert len(small.features) == 1


def test_one_prompt_encodes_each_slice_once_and_keeps_none(network, frames, square, monkeypatch):
    """The given slice's features serve the looks of it on both ways."""
    encoded = []
    encode = FeatureCache._encode
    monkeypatch.setattr(FeatureCache, "_encode", lambda self, i: encoded.append(i) or encode(self, i))
    monkeypatch.setattr(network, "inference", replace(network.inference, appearance=True))
    features = FeatureCache(network, frames, max_bytes=0)
    propagate_frames(network, frames, {1: {5: square}}, out_size=(40, 50), features=features)
    assert sorted(encoded) == list(range(12))


def test_of_two_ways_the_nearer_and_the_one_that_expects_more_counts_more():
    def found(logit, overlap):
        score = torch.full((1, 1), logit)
        return {
            "pred_masks": torch.full((1, 1, 4, 4), logit),
            "object_score_logits": score,
            "iou": torch.tensor([overlap]),
        }

    span = Span(0, 4, 1, 3)
    up, down = found(2.0, 0.9), found(-40.0, 0.3)
    mixed = blend(1, span, [up, down])
    # three quarters of the way times 0.9, and one quarter times 0.3; logits count as 10 at most
    assert mixed["pred_masks"].flatten()[0] == pytest.approx((0.675 * 2 - 0.075 * 10) / 0.75)
    assert mixed["iou"] == pytest.approx((0.675 * 0.9 + 0.075 * 0.3) / 0.75)
    equal = blend(2, span, [up, found(-2.0, 0.9)])
    assert equal["pred_masks"].abs().max() == pytest.approx(0, abs=1e-6)
    hopeless = blend(2, span, [up, found(-2.0, 0.0)])
    assert hopeless["pred_masks"].min() > 1.7
    assert blend(1, span, [up]) is up


def test_an_empty_slice_ends_the_structure(network, frames, square):
    result = run(network, frames, {1: {3: square, 6: EMPTY}})
    assert result.visited[:, 0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (result.slice_logits(6) < 0).all()
    assert (result.stops[1]["up"].slice, result.stops[1]["up"].reason) == (6, "marked as absent")
    assert result.stops[1]["down"].reason == "end of the range"
    beyond = run(network, frames, {1: {3: square, 6: EMPTY, 9: square}})
    assert beyond.visited.all()
    assert torch.equal(beyond.low_res[:6], result.low_res[:6])
    with pytest.raises(PromptError, match="Nothing is painted"):
        run(network, frames, {1: {6: EMPTY}})


@pytest.fixture
def clicked_network(network, monkeypatch):
    """A network that has learnt clicks."""
    monkeypatch.setattr(network, "inference", replace(network.inference, outline_marks=False))
    return network


def test_without_having_learnt_clicks_a_network_gets_the_outline(network, frames, square):
    assert network.inference.outline_marks
    tracker = ObjectTracker(network, FeatureCache(network, frames))
    with torch.no_grad():
        out = tracker.mark(0, click(outside=[(20, 20)], base=square))
    assert 0 < float(out["iou"]) < 1
    assert 0 in tracker.bank["cond_frame_outputs"]
    painted = torch.nn.functional.interpolate(out["pred_masks"], (40, 50))[0, 0].numpy() > 0
    assert painted.any()
    assert not painted[20, 20]


def test_a_click_reaches_the_prompt_encoder_in_the_networks_pixels(clicked_network, frames, monkeypatch):
    network = clicked_network
    seen = []
    heads = network._forward_sam_heads

    def spy(**kwargs):
        seen.append((kwargs.get("point_inputs"), kwargs.get("mask_inputs")))
        return heads(**kwargs)

    monkeypatch.setattr(network, "_forward_sam_heads", spy)
    tracker = ObjectTracker(network, FeatureCache(network, frames))
    with torch.no_grad():
        tracker.mark(0, click(inside=[(20, 25)], outside=[(0, 0)]))
    (first, no_mask), (both, logits) = seen
    scale = np.array([64 / 50, 64 / 40])
    np.testing.assert_allclose(first["point_coords"][0], [[25.5, 20.5] * scale], rtol=1e-6)
    np.testing.assert_allclose(both["point_coords"][0], [[25.5, 20.5], [0.5, 0.5]] * scale, rtol=1e-6)
    assert first["point_labels"].tolist() == [[1]]
    assert both["point_labels"].tolist() == [[1, 0]]
    assert no_mask is None
    assert logits.shape == (1, 1, 16, 16)


def test_marks_on_a_painted_mask_correct_that_mask(clicked_network, frames, square, monkeypatch):
    network = clicked_network
    seen = []
    heads = network._forward_sam_heads
    monkeypatch.setattr(network, "_forward_sam_heads", lambda **kw: seen.append(kw) or heads(**kw))
    tracker = ObjectTracker(network, FeatureCache(network, frames))
    with torch.no_grad():
        tracker.mark(0, click(outside=[(15, 20)], base=square))
    (call,) = seen
    assert call["point_inputs"]["point_labels"].tolist() == [[0]]
    small = call["mask_inputs"][0, 0]
    assert small.max() == pytest.approx(10)
    assert small.min() == pytest.approx(-10)
    assert small[8, 8] > 0 > small[2, 2]  # the square lies there


def test_a_marked_slice_is_present_whatever_the_score_says(network, frames):
    set_presence(network, -4.0)
    try:
        result = run(network, frames, {1: {5: click(inside=[(20, 25)])}}, stop_after=2)
    finally:
        set_presence(network, 4.0)
    assert network.pred_obj_scores
    assert (result.low_res[5] > -1000).any()
    assert result.object_score[5, 0] > 0
    assert result.object_score[6, 0] < 0


def test_clicks_on_a_second_slice_correct_what_the_first_ones_gave(network, frames, monkeypatch):
    priors = []
    mark = ObjectTracker.mark

    def spy(self, index, marks, prior=None):
        priors.append((index, None if prior is None else prior.clone()))
        return mark(self, index, marks, prior)

    monkeypatch.setattr(ObjectTracker, "mark", spy)
    alone = run(network, frames, {1: {3: click(inside=[(20, 25)])}})
    priors.clear()
    marks = {7: click(outside=[(2, 2)]), 3: click(inside=[(20, 25)])}
    run(network, frames, {1: marks})
    assert [index for index, _ in priors] == [3, 7]  # what says where it is comes first
    assert priors[0][1] is None
    assert torch.equal(priors[1][1], alone.low_res[7, 0])


def test_one_more_click_is_cheap(network, frames):
    workspace = Workspace()
    one = {3: click(inside=[(20, 25)])}
    run(network, frames, {1: one}, workspace)
    two = run(network, frames, {1: {**one, 7: click(outside=[(2, 2)])}}, workspace)
    assert two.redone == {1: set(range(4, 12))}


def test_outside_clicks_alone_say_nothing(network, frames):
    with pytest.raises(PromptError, match="Nothing is painted"):
        run(network, frames, {1: {3: click(outside=[(20, 25)])}})
    with pytest.raises(ConfigurationError, match="independent"):
        run(network, frames, {1: {3: click(inside=[(20, 25)])}}, order="published")


def test_progress_of_a_known_run_is_told_too(network, frames, square):
    workspace, seen = Workspace(), []
    for _ in range(2):
        seen.clear()
        features = FeatureCache(network, frames, workspace=workspace)
        propagate_frames(
            network,
            frames,
            {1: {2: square, 6: square}},
            out_size=(40, 50),
            features=features,
            progress=lambda *at: seen.append(at),
        )
        assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
        assert seen[-1][0] == seen[-1][1]


def test_a_region_of_an_earlier_report_is_kept_while_it_suits(network, monkeypatch):
    monkeypatch.setattr(network, "inference", InferenceSettings(crop_margin=0.75))
    image = np.random.default_rng(0).normal(0, 1, (90, 100, 4)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    label[40:50, 40:50, 1] = 1
    region = [10, 80, 20, 90]
    _, report = propagate_volume(image, label, model=network, axis=2, regions={"structure_1": region})
    assert report["structures"]["structure_1"]["redone"] == [0, 1, 2, 3]
    wide = report["structures"]["structure_1"]["region"]
    assert wide[0] <= 10
    assert wide[1] >= 80
    _, report = propagate_volume(image, label, model=network, axis=2, regions={"structure_1": [0, 45, 0, 45]})
    assert report["structures"]["structure_1"]["region"] != [0, 45, 0, 45]


def test_a_workspace_that_keeps_next_to_nothing_changes_no_answer(network, frames, square, other):
    """What is worked with when memory runs short."""
    prompts = {1: {2: square, 8: other}, 2: {4: other}}
    usual = run(network, frames, prompts, Workspace())
    small = Workspace(0, 0)
    assert torch.equal(run(network, frames, prompts, small).logits, usual.logits)
    assert (len(small.features), len(small.passes)) == (1, 1)
