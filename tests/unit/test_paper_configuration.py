"""The configuration of fine-tuning: the published recipe, changed on the command line."""

import pytest
import torch

from slmsam2.errors import ConfigurationError
from slmsam2.modeling import load_config
from slmsam2.paper.configuration import Plan, device_of, read_configuration

pytestmark = pytest.mark.unit

DEFAULT = "slm_sam2_hiera_t_finetune"


def test_the_defaults_are_the_published_recipe():
    config = read_configuration(DEFAULT, [])
    plan = Plan.read(config)
    assert (plan.epochs, plan.draw.slices, plan.draw.objects, plan.recipe.clips) == (100, 8, 3, 1)
    assert (plan.rates["full"], plan.rates["encoder"]) == (5e-6, 3e-6)
    assert (plan.recipe.weight_decay, plan.recipe.clip_gradient) == (0.1, 0.1)
    assert (plan.draw.degrees, plan.draw.shear, plan.draw.flip) == (25, 20, 0.5)
    assert plan.recipe.summed_loss
    assert plan.recipe.absent_pixels is None
    assert plan.mixed_precision
    assert config.launcher.experiment_log_dir == f"runs/{DEFAULT}"


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
def test_every_size_has_one(size):
    config = read_configuration(f"slm_sam2_hiera_{size}_finetune", ["trainer.max_epochs=3"])
    assert config.model.name == f"slm_sam2_hiera_{size}"
    assert load_config(config.model.name).model.recent_n == 1
    assert Plan.read(config).epochs == 3


def test_folders_may_have_any_names():
    folders = (
        "Über/images",
        "/日本/x",
        "it's à/b",
        "'/quoted/ß'",
        "it's",
        "Liver (2024)/a, b",
        "~/a=b#1&2",
        "2024",
    )
    for folder in folders:
        config = read_configuration(DEFAULT, [f"dataset.img_folder={folder}"])
        assert config.dataset.img_folder == folder.strip("'")


def test_changes_on_the_command_line(tmp_path):
    changes = ["dataset.img_folder=/data/b+", "scratch.num_epochs=7", "+model.overrides.recent_n=7"]
    config = read_configuration(DEFAULT, changes)
    assert config.dataset.img_folder == config.validation.img_folder == "/data/b+"
    assert config.trainer.max_epochs == 7
    assert config.model.overrides.recent_n == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dataset.folder=/data", "dataset.folder"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be at least 1"),
        ("trainer.max_epochs=many", "cannot be used"),
        ("prompts.point=[", "cannot be used"),
        ("validation.every_epochs=0", "validation.every_epochs must be"),
        ("prompts.strokes=1", "cannot be used"),
    ],
)
def test_settings_that_are_refused(change, words):
    with pytest.raises(ConfigurationError, match=words):
        Plan.read(read_configuration(DEFAULT, [change]))


def test_a_model_folder_of_ones_own_may_be_without_configurations(tmp_path, monkeypatch):
    assert read_configuration(DEFAULT, [], tmp_path).trainer.max_epochs == 100
    monkeypatch.setenv("SLMSAM2_MODEL_DIR", str(tmp_path))
    assert read_configuration(DEFAULT, []).trainer.max_epochs == 100


def test_no_such_configuration():
    with pytest.raises(ConfigurationError, match="no configuration 'nothing'"):
        read_configuration("nothing", [])


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(read_configuration(DEFAULT, [])) == "cpu"
    with pytest.raises(ConfigurationError, match="no GPU"):
        device_of(read_configuration(DEFAULT, ["trainer.accelerator=cuda"]))
    with pytest.raises(ConfigurationError, match="choose cuda, cpu or auto"):
        device_of(read_configuration(DEFAULT, ["trainer.accelerator=tpu"]))


def test_a_configuration_that_is_no_yaml_is_told(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("a: [1\n")
    with pytest.raises(ConfigurationError, match="cannot be used: while parsing"):
        read_configuration(str(path), [])


def test_a_section_that_is_none_is_told():
    config = read_configuration(DEFAULT, ["trainer=1"])
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Plan.read(config)
