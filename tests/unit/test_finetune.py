"""Presets, and which parameters learn how fast."""

from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.modeling import build_model, load_config
from slmsam2.training.finetune import FineTuner, Preset, parameter_groups
from slmsam2.training.workers import Workers

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def network():
    return build_model("slm_sam2_nano", overrides={"image_size": 64})


def rates(network, preset):
    """Parameter name -> learning rate."""
    names = {id(p): name for name, p in network.named_parameters()}
    groups = parameter_groups(network, Preset.read(preset))
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


def test_fast_leaves_the_image_encoder_at_rest(network):
    found = rates(network, "fast")
    assert not [name for name in found if name.startswith(("image_encoder", "sam_mask_decoder.conv_s"))]
    everything = {name for name, _ in network.named_parameters()}
    left_out = everything - found.keys()
    assert all(name.startswith(("image_encoder", "sam_mask_decoder.conv_s")) for name in left_out)
    assert set(found.values()) == {network.info["learning"]["rates"]["fast"]}


def test_full_slows_down_towards_the_first_block(network):
    found = rates(network, "full")
    assert len(found) == len(list(network.parameters()))
    base = network.info["learning"]["rates"]["encoder"]
    blocks = len(network.image_encoder.trunk.blocks)
    for number in range(blocks):
        rate = found[f"image_encoder.trunk.blocks.{number}.norm1.weight"]
        assert rate == pytest.approx(base * 0.9 ** (blocks - 1 - number))
    assert found["image_encoder.trunk.patch_embed.proj.weight"] == pytest.approx(base * 0.9**blocks)
    assert found["image_encoder.neck.convs.0.conv.weight"] == pytest.approx(base)


def test_a_short_branch_that_is_new_learns_faster(network):
    known = dict(network.info)
    try:
        network.info["weights"] = "sam2"
        network.info["learning"] = {"rates": {"full": 5e-6, "encoder": 3e-6, "new": 1e-4}}
        found = rates(network, "full")
    finally:
        network.info.clear()
        network.info.update(known)
    new = {name for name, rate in found.items() if rate == 1e-4}
    assert new
    assert all(name.startswith(("recent_memory_attention.", "recent_memory_fuser.")) for name in new)
    assert found["memory_attention.norm.weight"] == 5e-6


def test_biases_norms_and_embeddings_do_not_decay(network):
    names = {id(p): name for name, p in network.named_parameters()}
    for group in parameter_groups(network, Preset.read("full")):
        for parameter in group["params"]:
            plain = parameter.ndim < 2 or "embed" in names[id(parameter)] or "tpos" in names[id(parameter)]
            assert (group["weight_decay"] == 0) == plain


def test_weights_between_the_start_and_what_was_learnt():
    network = build_model("slm_sam2_nano", overrides={"image_size": 64})
    workers = Workers(0, 1, torch.device("cpu"))
    tuner = FineTuner(network, None, replace(Preset.read("small"), shares=(0.25, 1.0)), 1, workers)
    start = [parameter.detach().clone() for parameter in tuner.parameters]
    for mean in tuner.average:
        mean += 1
    for part, share in [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)]:
        moved = [float((w - s).mean()) for w, s in zip(tuner.between(share), start, strict=True)]
        assert moved == pytest.approx([part] * len(moved), abs=1e-5)
    with tuner.having(tuner.between(0.25)) as changed:
        inside = next(changed.parameters()).detach().clone()
    first = next(network.parameters())
    assert float((inside - first).detach().mean()) == pytest.approx(0.25, abs=1e-5)


def test_steps_follow_the_number_of_structures():
    fast = Preset.read("fast")
    assert fast.steps(1) == fast.least_steps
    assert fast.steps(1000) == fast.most_steps
    assert fast.least_steps < fast.steps(5) < fast.most_steps


def test_a_preset_with_an_unknown_setting_is_refused(tmp_path):
    (tmp_path / "configs").mkdir()
    changed = load_config("learn_fast")
    changed.speed = 11
    OmegaConf.save(changed, tmp_path / "configs" / "learn_fast.yaml")
    with pytest.raises(ConfigurationError, match="speed"):
        Preset.read("fast", tmp_path)


def test_looks_do_not_outlive_the_weights_they_were_learnt_with(network):
    tuner = FineTuner(network, None, Preset.read("small"), 4, Workers(0, 1, torch.device("cpu")))
    network.looks = {"liver": object()}
    tuner.use(None)
    assert network.looks == {}


def test_a_state_of_another_network_changes_nothing():
    network = build_model("slm_sam2_nano", overrides={"image_size": 64})
    workers = Workers(0, 1, torch.device("cpu"))
    tuner = FineTuner(network, None, Preset.read("fast"), 3, workers)
    state = {**tuner.state(), "step": 2, "parameters": [torch.zeros(7) for _ in tuner.parameters]}
    before = [parameter.detach().clone() for parameter in tuner.parameters]
    with pytest.raises(CheckpointError, match="another network"):
        tuner.resume(state)
    full = FineTuner(build_model("slm_sam2_nano"), None, Preset.read("full"), 3, workers).state()
    with pytest.raises(CheckpointError, match="another network"):
        tuner.resume({**full, "step": 2})
    assert tuner.step == 0
    assert all(torch.equal(a, b) for a, b in zip(before, tuner.parameters, strict=True))
