"""A network started from SAM 2.1 weights gives what the sam2 package's own video predictor gives."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from slmsam2.engine import propagate_frames
from slmsam2.modeling import build_model, load_config

pytestmark = pytest.mark.integration

SLICES, SIZE = 6, 128
SMALL = {"image_size": SIZE}


@pytest.fixture(scope="module")
def sam2_predictor():
    """SAM 2.1 tiny with random weights, as the package's video predictor, at a small image size."""
    settings = OmegaConf.create(OmegaConf.to_container(load_config("sam2.1_hiera_t")))
    settings.model._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    settings.model.image_size = SIZE
    torch.manual_seed(3)
    predictor = instantiate(settings.model).eval()
    with torch.no_grad():  # objects present, so that masks are compared and not only "absent"
        predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(4.0)
    return predictor


@pytest.fixture(scope="module")
def warm_started(sam2_predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "sam2.1_random.pt"
    torch.save({"model": sam2_predictor.state_dict()}, path)
    return build_model("slm_sam2_hiera_t", checkpoint=path, overrides=SMALL)


def frames_and_mask():
    generator = torch.Generator().manual_seed(5)
    frames = torch.randn((SLICES, 3, SIZE, SIZE), generator=generator)
    mask = np.zeros((90, 70), bool)
    mask[20:60, 15:50] = True
    return frames, mask


def reference_logits(predictor, frames, mask):
    """Drive the package's predictor on frames in memory; logits (S, h, w)."""
    state = {
        "images": frames,
        "num_frames": len(frames),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": mask.shape[0],
        "video_width": mask.shape[1],
        "device": torch.device("cpu"),
        "storage_device": torch.device("cpu"),
        "cached_features": {},
        "constants": {},
    }
    for name in ("point_inputs", "mask_inputs", "output_dict", "temp_output_dict", "frames_tracked"):
        state[f"{name}_per_obj"] = {}
    state |= {"obj_id_to_idx": {}, "obj_idx_to_id": {}, "obj_ids": []}
    predictor.add_new_mask(state, frame_idx=0, obj_id=1, mask=mask)
    return torch.stack([logits[0, 0] for _, _, logits in predictor.propagate_in_video(state)])


def test_same_logits_as_sam2(sam2_predictor, warm_started):
    frames, mask = frames_and_mask()
    expected = reference_logits(sam2_predictor, frames, mask)
    ours = propagate_frames(warm_started, frames, {1: {0: mask}}, out_size=mask.shape).logits[:, 0]
    assert expected[1:].std() > 1e-2
    assert (ours - expected).abs().max().item() <= 1e-4


def test_warm_start_is_deterministic(sam2_predictor, warm_started, tmp_path):
    path = tmp_path / "again.pt"
    torch.save({"model": sam2_predictor.state_dict()}, path)
    torch.manual_seed(99)
    again = build_model("slm_sam2_hiera_t", checkpoint=path, overrides=SMALL)
    for (name, ours), theirs in zip(
        warm_started.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_first_gradient_opens_the_short_branch(warm_started):
    """The zeroed LayerNorm gets a gradient, so that fine-tuning can use the short memory."""
    norm = warm_started.recent_memory_attention.norm
    feats, pos = torch.randn(64, 1, 256), torch.randn(64, 1, 256)
    out = warm_started.recent_memory_attention(
        feats, torch.randn(64, 1, 64), pos, torch.randn(64, 1, 64), num_obj_ptr_tokens=0
    )
    assert out.abs().max() == 0
    (out * torch.randn_like(out)).sum().backward()
    assert norm.weight.grad.abs().max() > 0
    warm_started.zero_grad()


def test_a_closed_short_branch_is_not_computed(sam2_predictor, tmp_path):
    """The same logits when it is as when it must be, for weights next to nothing."""
    path = tmp_path / "sam2.1_random.pt"
    torch.save({"model": sam2_predictor.state_dict()}, path)
    network = build_model("slm_sam2_hiera_t", checkpoint=path, overrides=SMALL)
    frames, mask = frames_and_mask()
    calls = []
    network.recent_memory_attention.register_forward_hook(lambda *_: calls.append(1))
    closed = propagate_frames(network, frames, {1: {0: mask}}, out_size=mask.shape).logits
    assert not calls
    torch.nn.init.constant_(network.recent_memory_attention.norm.weight, 1e-20)
    opened = propagate_frames(network, frames, {1: {0: mask}}, out_size=mask.shape).logits
    assert len(calls) == SLICES - 1
    assert torch.equal(closed, opened)
