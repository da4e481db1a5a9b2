"""The configuration of a fine-tuning: read by Hydra, checked, and turned into settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from slmsam2.errors import ConfigurationError
from slmsam2.modeling.build import model_directories
from slmsam2.paper.clips import DrawSettings, Jitter
from slmsam2.training.finetune import Recipe
from slmsam2.training.prompts import PromptSettings

DEFAULT = "slm_sam2_hiera_t_finetune"
RUNS = Path("runs")
_DATA = ("img_folder", "gt_folder", "file_list_txt")
_FILES = (
    "model.checkpoint",
    *(f"{section}.{key}" for section in ("dataset", "validation") for key in _DATA),
    "validation.mask_prompt_dict",
    "launcher.experiment_log_dir",
)


def read_configuration(
    config: str, overrides: Sequence[str], model_dir: str | Path | None = None
) -> DictConfig:
    """Compose a configuration.

    Args:
        config: name of a file in ``model/configs``, or the path of a YAML file.
        overrides: ``key=value`` in Hydra's syntax; values need no quotes, whatever they hold.
        model_dir: see :func:`slmsam2.modeling.model_directory`.

    Raises:
        ConfigurationError: no such configuration or setting.
    """
    path = _config_path(config, model_dir)
    try:
        with _hydra_in(path.parent):
            settings = compose(path.stem, overrides=[_quoted(one) for one in overrides])
        OmegaConf.resolve(settings)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        sentence = str(error).splitlines()[0]
        raise ConfigurationError(
            f"The configuration {config} with {' '.join(overrides) or 'no changes'} cannot be used: {sentence}"
        ) from error
    for key in _FILES:
        named = OmegaConf.select(settings, key)
        if named is not None:
            OmegaConf.update(settings, key, str(named))  # a name such as 2024 is read as a number
    if settings.launcher.experiment_log_dir is None:
        settings.launcher.experiment_log_dir = str(RUNS / path.stem)
    return settings


def _quoted(override: str) -> str:
    """With quotes around a value that Hydra's grammar reads in quotes only."""
    key, sign, value = override.partition("=")
    if value.startswith(("'", '"', "[", "{")) or _is_read(override):
        return override
    escaped = value.replace("'", "\\'")
    return f"{key}{sign}'{escaped}'"


def _is_read(override: str) -> bool:
    """Whether Hydra's grammar reads one value."""
    try:
        return not OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False


@contextmanager
def _hydra_in(folder: Path) -> Iterator[None]:
    """Hydra with its configurations in a folder; the ``sam2`` package's own Hydra is put back afterwards."""
    before = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(folder.resolve())):
            yield
    finally:
        Singleton.set_state(before)


def _config_path(config: str, model_dir: str | Path | None) -> Path:
    name = config if config.endswith((".yaml", ".yml")) else f"{config}.yaml"
    folders = [Path(), *(one / "configs" for one in model_directories(model_dir))]
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise ConfigurationError(
            f"There is no configuration {config!r}: name a file in model/configs, or a path."
        )
    return path


@dataclass(frozen=True)
class Plan:
    """A configuration as settings.

    Attributes:
        draw: how clips are drawn.
        recipe: how steps are made.
        epochs: how many.
        seed: of the run.
        mixed_precision: bfloat16 autocast.
        rates: learning rates by part, as :func:`slmsam2.training.finetune.parameter_groups` wants them.
    """

    draw: DrawSettings
    recipe: Recipe
    epochs: int
    seed: int
    mixed_precision: bool
    rates: dict[str, float]

    @classmethod
    def read(cls, config: DictConfig) -> Plan:
        """From a composed configuration.

        Raises:
            ConfigurationError: a value is missing, of the wrong kind, or out of range.
        """
        try:
            plan = cls._made(config)
        except (TypeError, ValueError, AttributeError, OmegaConfBaseException) as error:
            sentence = str(error).splitlines()[0]
            raise ConfigurationError(f"The configuration cannot be used: {sentence}") from error
        counts = {
            "trainer.max_epochs": plan.epochs,
            "scratch.num_frames": plan.draw.slices,
            "scratch.max_num_objects": plan.draw.objects,
            "scratch.train_batch_size": plan.recipe.clips,
            "dataset.multiplier": plan.draw.multiplier,
            "validation.every_epochs": int(config.validation.every_epochs),
        }
        wrong = [key for key, value in counts.items() if value < 1]
        if wrong:
            raise ConfigurationError(f"{wrong[0]} must be at least 1, but it is {counts[wrong[0]]}.")
        return plan

    @classmethod
    def _made(cls, config: DictConfig) -> Plan:
        scratch, vos, optim = config.scratch, config.vos, config.trainer.optim
        prompts: dict[str, Any] = OmegaConf.to_container(config.prompts)  # type: ignore[assignment]
        draw = DrawSettings(
            slices=int(scratch.num_frames),
            objects=int(scratch.max_num_objects),
            multiplier=int(config.dataset.multiplier),
            reverse=float(vos.reverse),
            flip=float(vos.flip),
            degrees=float(vos.degrees),
            shear=float(vos.shear),
            clip_jitter=Jitter(**vos.clip_jitter),
            slice_jitter=Jitter(**vos.slice_jitter),
            prompts=PromptSettings(**prompts, least_clicks=prompts["clicks"]),
        )
        epochs = int(config.trainer.max_epochs)
        recipe = Recipe(
            name="full",
            train_encoder=True,
            clips=int(scratch.train_batch_size),
            evaluations=max(epochs // max(int(config.validation.every_epochs), 1), 1),
            absent_pixels=None,
            focal_alpha=float(config.trainer.loss.focal_alpha),
            presence_weight=1.0,
            weight_decay=float(optim.weight_decay),
            clip_gradient=float(optim.gradient_clip.max_norm),
            warmup=0,
            average=0.0,
            checkpointing=bool(optim.checkpointing),
            summed_loss=True,
        )
        rates = {"full": scratch.base_lr, "encoder": scratch.vision_lr, "new": scratch.new_lr}
        return cls(
            draw,
            recipe,
            epochs,
            int(config.trainer.seed_value),
            bool(optim.amp.enabled),
            {part: float(rate) for part, rate in rates.items()},
        )


def device_of(config: DictConfig) -> str:
    """Where to train, "cuda" or "cpu".

    Raises:
        ConfigurationError: something else, or a GPU where there is none.
    """
    wanted = config.trainer.accelerator
    if wanted not in ("auto", "cuda", "cpu"):
        raise ConfigurationError(f"trainer.accelerator is {wanted!r}: choose cuda, cpu or auto.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("There is no GPU that PyTorch can use here: set trainer.accelerator=cpu.")
    return "cpu" if wanted == "cpu" or not torch.cuda.is_available() else "cuda"
