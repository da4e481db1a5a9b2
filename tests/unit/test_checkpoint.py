"""Weights files: what fits is loaded, what does not is named."""

import pytest
import torch

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.modeling import build_model, load_config, model_directory, save_checkpoint
from slmsam2.modeling.checkpoint import read_checkpoint

pytestmark = pytest.mark.unit

TINY = {"image_size": 64}


@pytest.fixture(scope="module")
def network():
    return build_model("slm_sam2_nano", overrides=TINY)


def test_sizes_of_the_published_tiny_model():
    model = build_model("slm_sam2_hiera_t")
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert parts["recent_memory_attention"] == parts["memory_attention"] == 5_922_304
    assert parts["recent_memory_fuser"] == 1_078_272
    assert parts["image_encoder"] == 27_219_136
    assert sum(parts.values()) + sum(p.numel() for p in model.parameters(recurse=False)) == 45_963_522 - 448


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
def test_every_size_has_a_configuration(size):
    settings = load_config(f"slm_sam2_hiera_{size}")
    assert settings.model._target_.endswith("SLMSAM2")
    assert settings.model.recent_n == 1


def test_round_trip_keeps_weights_settings_and_history(network, tmp_path):
    path = tmp_path / "own.pt"
    network.recent_n = 3
    save_checkpoint(path, network, version="v7", trained={"volumes": 2})
    again = build_model("slm_sam2_nano", checkpoint=path)
    network.recent_n = 1
    assert (again.recent_n, again.image_size) == (3, 64)
    assert again.info["version"] == "v7"
    assert again.info["trained"] == {"volumes": 2}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert list(tmp_path.iterdir()) == [path]  # nothing temporary is left


def test_overrides_win_over_the_checkpoint(network, tmp_path):
    path = tmp_path / "own.pt"
    save_checkpoint(path, network, version="v1", trained={})
    assert build_model("slm_sam2_nano", checkpoint=path, overrides={"recent_n": 2}).recent_n == 2


def test_published_file_with_its_unused_parameter_loads(network, tmp_path):
    path = tmp_path / "published.pt"
    weights = {**network.state_dict(), "rec_maskmem_tpos_enc": torch.zeros(7, 1, 1, 64)}
    torch.save({"model": weights, "optimizer": {"state": {}}, "epoch": 3}, path)
    model = build_model("slm_sam2_nano", checkpoint=path, overrides=TINY)
    assert model.info["weights"] == "published"
    assert len(model.info["version"]) == 12


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.pop("memory_attention.norm.weight"), "missing: memory_attention.norm.weight"),
        (lambda w: w.update(stray=torch.zeros(1)), "unexpected: stray"),
        (lambda w: w.update({"no_mem_embed": torch.zeros(2)}), "wrongly shaped: no_mem_embed"),
        (
            lambda w: w.pop("recent_memory_attention.norm.weight"),
            "missing: recent_memory_attention.norm.weight",
        ),
    ],
)
def test_keys_that_do_not_fit_are_named(network, tmp_path, change, named):
    weights = dict(network.state_dict())
    change(weights)
    path = tmp_path / "bad.pt"
    torch.save({"model": weights}, path)
    with pytest.raises(CheckpointError, match=named):
        build_model("slm_sam2_nano", checkpoint=path, overrides=TINY)


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(CheckpointError, match="no weights file"):
        read_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "text.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "empty.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="no top-level 'model'"):
        read_checkpoint(tmp_path / "list.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run!",))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "evil.pt")


def test_unknown_configuration_and_override():
    with pytest.raises(ConfigurationError, match="slm_sam2_nano"):
        build_model("slm_sam3")
    with pytest.raises(ConfigurationError, match="no model setting 'colour'"):
        build_model("slm_sam2_nano", overrides={"colour": 1})


def test_model_directory_order(monkeypatch, tmp_path):
    monkeypatch.setenv("SLMSAM2_MODEL_DIR", str(tmp_path))
    assert model_directory() == tmp_path
    assert model_directory("/elsewhere").as_posix() == "/elsewhere"
    monkeypatch.delenv("SLMSAM2_MODEL_DIR")
    assert (model_directory() / "configs" / "slm_sam2_nano.yaml").is_file()


def test_weights_of_a_training_that_diverged_are_refused(network, tmp_path):
    path = tmp_path / "diverged.pt"
    weights = {**network.state_dict(), "maskmem_tpos_enc": network.maskmem_tpos_enc * float("nan")}
    torch.save({"model": weights}, path)
    with pytest.raises(CheckpointError, match="not finite"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("meta", "sentence"),
    [
        ([1], "format None"),
        ({"format": 1}, "does not say how"),
        ({"format": 1, "settings": {"image_size": "64"}, "version": "v1"}, "does not say how"),
        ({"format": 1, "settings": {}, "version": 1}, "does not say how"),
    ],
)
def test_metadata_that_say_nothing_are_refused(network, tmp_path, meta, sentence):
    path = tmp_path / "odd.pt"
    torch.save({"model": network.state_dict(), "slmsam2": meta}, path)
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(path)


@pytest.mark.parametrize("size", [100, 0, -32, "64"])
def test_image_sizes_that_no_encoder_takes_are_refused(size):
    with pytest.raises(ConfigurationError, match="multiple of 32"):
        build_model("slm_sam2_nano", overrides={"image_size": size})


def test_a_configuration_that_is_no_yaml_is_told(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1\n")
    with pytest.raises(ConfigurationError, match=r"broken\.yaml is no YAML file"):
        load_config(path)


@pytest.mark.parametrize("device", ["mps", "meta", "nonsense"])
def test_devices_that_it_does_not_work_on_are_told(device):
    with pytest.raises(ConfigurationError, match=f"There is no device '{device}': use cpu"):
        build_model("slm_sam2_nano", overrides=TINY, device=device)
