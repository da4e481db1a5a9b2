"""Between the slices that are looked at, a mask is carried along with the image."""

from typing import ClassVar

import pytest
import torch

from slmsam2.engine import Settings, Workspace, propagate_frames
from slmsam2.engine.features import FeatureCache
from slmsam2.engine.tracker import ObjectTracker
from slmsam2.modeling.motion import Motion

pytestmark = pytest.mark.integration


@pytest.fixture
def follower(network, monkeypatch):
    """The small network, carrying masks along with the image."""
    for name, value in {"follow_motion": True, "last_mask_prompt": True, "stride": 2}.items():
        monkeypatch.setattr(network, name, value)
    return network


@pytest.fixture
def looked_at(monkeypatch):
    """Slices that the network looked at, in order; those in ``looked_at.gone`` are found without the object."""

    class Looks(list):
        gone: ClassVar[set[int]] = set()

    looks, advance = Looks(), ObjectTracker.advance

    def noted(tracker, index, *, reverse):
        looks.append(index)
        out = advance(tracker, index, reverse=reverse)
        if index in looks.gone:
            out["object_score_logits"] = torch.full_like(out["object_score_logits"], -5.0)
        else:
            out["pred_masks"] = out["pred_masks"].clone()
            out["pred_masks"][..., 8:10, 8:10] = 5.0
        return out

    monkeypatch.setattr(ObjectTracker, "advance", noted)
    return looks


def run(network, frames, prompts, workspace=None, **settings):
    features = FeatureCache(network, frames, workspace=workspace)
    return propagate_frames(
        network, frames, prompts, out_size=(40, 50), settings=Settings(**settings), features=features
    )


@pytest.mark.parametrize(
    ("stride", "expected"), [(1, [3, 4, 5, 6, 7, 8, 9, 10, 11]), (2, [4, 6, 8, 10]), (4, [6, 10])]
)
def test_every_so_many_slices_are_looked_at(
    follower, frames, square, looked_at, monkeypatch, stride, expected
):
    monkeypatch.setattr(follower, "stride", stride)
    result = run(follower, frames, {1: {2: square}}, down=False)
    assert looked_at == expected
    assert result.visited[2:].all()
    assert ((result.low_res[2:] > 0).flatten(1).any(dim=1)).all()


def test_networks_that_are_not_shown_the_carried_mask_skip_slices_as_well(
    network, frames, square, looked_at, monkeypatch
):
    monkeypatch.setattr(network, "stride", 3)
    result = run(network, frames, {1: {2: square}}, down=False)
    assert looked_at == [5, 8, 11]
    assert ((result.low_res[2:] > 0).flatten(1).any(dim=1)).all()


def test_a_carried_mask_is_the_neighbour_s_moved_along(follower, frames, square, looked_at):
    result = run(follower, frames, {1: {2: square}}, down=False)
    here, there = (follower.thumbnails(frames[index][None]) for index in (5, 4))
    before = result.low_res[4].clamp(-10, 10)[None]
    expected = Motion.between(here, there).carry(before)
    assert torch.allclose(result.low_res[5], expected[0], atol=1e-5)
    assert not torch.allclose(result.low_res[5], before[0], atol=0.1)
    assert (result.object_score[5], result.iou[5]) == (result.object_score[4], result.iou[4])


def test_before_a_slice_without_the_object_all_are_looked_at(
    follower, frames, square, looked_at, monkeypatch
):
    monkeypatch.setattr(follower, "stride", 4)
    looked_at.gone = {8, 9, 10, 11}
    result = run(follower, frames, {1: {2: square}}, down=False, stop_after=3)
    assert looked_at == [6, 10, 7, 8, 9]
    assert result.stops[1]["up"].slice == 8
    assert not result.visited[11]


def test_the_short_memory_reads_the_last_slice_looked_at(network, monkeypatch):
    monkeypatch.setattr(network, "stride", 3)
    bank = {"cond_frame_outputs": {0: {"obj_ptr": 0}}, "non_cond_frame_outputs": {3: {"obj_ptr": 3}}}
    assert network._recent_outputs(6, -1, bank) == [(1, {"obj_ptr": 3})]
    assert network._recent_outputs(4, -1, bank) == [(1, {"obj_ptr": 3})]
    assert network._recent_outputs(7, -1, bank) == []


def test_a_workspace_tells_strides_apart(follower, frames, square, monkeypatch):
    workspace = Workspace()
    run(follower, frames, {1: {2: square}}, workspace)
    assert run(follower, frames, {1: {2: square}}, workspace).redone[1] == set()
    monkeypatch.setattr(follower, "stride", 3)
    assert run(follower, frames, {1: {2: square}}, workspace).redone[1] == set(range(12)) - {2}
