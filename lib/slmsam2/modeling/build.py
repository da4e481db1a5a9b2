"""From a configuration (and a checkpoint) to a network that is ready to infer."""

from __future__ import annotations

import copy
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from slmsam2.devices import usable_device
from slmsam2.errors import ConfigurationError
from slmsam2.modeling.checkpoint import WEIGHT_SETTINGS, Checkpoint, load_weights, read_checkpoint
from slmsam2.modeling.inference import InferenceSettings
from slmsam2.modeling.network import SLMSAM2
from slmsam2.modeling.speed import QUALITY, SIZE_STEP, has_bfloat16, scaled_size, speed_settings

SAM2_FILES = {
    "slm_sam2_hiera_t": "sam2.1_hiera_tiny.pt",
    "slm_sam2_hiera_s": "sam2.1_hiera_small.pt",
    "slm_sam2_hiera_b+": "sam2.1_hiera_base_plus.pt",
    "slm_sam2_hiera_l": "sam2.1_hiera_large.pt",
}

_REPOSITORY_MODELS = Path(__file__).resolve().parents[3] / "model"


def model_directory(explicit: str | Path | None = None) -> Path:
    """Where configurations and checkpoints are: ``explicit``, else ``$SLMSAM2_MODEL_DIR``, else ``<repo>/model``."""
    chosen = explicit or os.environ.get("SLMSAM2_MODEL_DIR")
    return Path(chosen) if chosen else _REPOSITORY_MODELS


def model_directories(explicit: str | Path | None = None) -> tuple[Path, ...]:
    """Where configurations are looked for, one after the other: model folders may lack what the repository has."""
    return model_directory(explicit), model_directory(), _REPOSITORY_MODELS


def checkpoint_path(name: str, model_dir: str | Path | None = None) -> Path:
    """The weights of model ``name`` that are in use: what was learnt and published last, else what it starts from."""
    learnt = published_path(name, model_dir)
    return learnt if learnt.is_file() else starting_path(name, model_dir)


def learnt_folder(name: str, model_dir: str | Path | None = None) -> Path:
    """Where what model ``name`` has learnt from users' labels is kept: ``<model_dir>/checkpoints/learned/<name>``."""
    return model_directory(model_dir) / "checkpoints" / "learned" / name


def published_path(name: str, model_dir: str | Path | None = None) -> Path:
    """Where weights learnt from users' labels are put into use."""
    return learnt_folder(name, model_dir) / "published.pt"


def starting_path(name: str, model_dir: str | Path | None = None) -> Path:
    """The weights that model ``name`` starts from: ``<model_dir>/checkpoints/<name>.pt``, else the repository's own.

    While a Hiera model has no weights of its own, the SAM 2.1 file it can start from, if that is there.
    """
    folders = [model_directory(model_dir) / "checkpoints", _REPOSITORY_MODELS / "checkpoints"]
    candidates = [
        folder / file for folder in folders for file in (f"{name}.pt", SAM2_FILES.get(name, f"{name}.pt"))
    ]
    return next((path for path in candidates if path.is_file()), candidates[0])


def load_config(config: str | Path | DictConfig, model_dir: str | Path | None = None) -> DictConfig:
    """Read a configuration and merge it over the ones named by its ``base`` list.

    Args:
        config: name of a file in ``<model_dir>/configs`` (the repository's own when it has none), path of a YAML
            file, or a configuration that is returned as it is.

    A name in ``base`` that starts with ``sam2.1_`` is a configuration of the ``sam2`` package.

    Raises:
        ConfigurationError: no such configuration, or one that cannot be read.
    """
    if isinstance(config, DictConfig):
        return config
    path = _config_path(str(config), model_dir)
    try:
        own = OmegaConf.load(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML file: {str(error).splitlines()[0]}.") from error
    if not isinstance(own, DictConfig):
        raise ConfigurationError(f"{path} holds a list where settings (key: value) are expected.")
    merged = OmegaConf.create({})
    for name in own.pop("base", []):
        merged.merge_with(load_config(name, model_dir))
    merged.merge_with(own)
    return merged


def _config_path(config: str, model_dir: str | Path | None) -> Path:
    if config.startswith("sam2.1_"):
        return Path(str(files("sam2") / "configs" / "sam2.1" / f"{config}.yaml"))
    if config.endswith((".yaml", ".yml")):
        candidates = [Path(config)]
    else:
        candidates = [folder / "configs" / f"{config}.yaml" for folder in model_directories(model_dir)]
    for path in candidates:
        if path.is_file():
            return path
    named = (p.stem for p in candidates[-1].parent.glob("slm_sam2_*.yaml"))
    known = sorted(name for name in named if not name.endswith("_finetune"))
    raise ConfigurationError(
        f"There is no model configuration {config!r}. Known here: {', '.join(known) or 'none'}."
    )


def build_model(
    config: str | Path | DictConfig,
    *,
    checkpoint: str | Path | None = None,
    device: str | torch.device = "cpu",
    overrides: dict[str, Any] | None = None,
    model_dir: str | Path | None = None,
    speed: str = QUALITY,
) -> SLMSAM2:
    """Build an SLM-SAM 2 network in eval mode.

    Args:
        config: name of a file in ``model/configs``, a path, or a DictConfig.
        checkpoint: weights: our own, published SLM-SAM 2, or SAM 2.1 (then the short branch starts so that the
            output equals SAM 2's). None leaves the weights random.
        device: where the network lives.
        overrides: dotted keys under ``model``, for instance ``{"image_size": 512}``; they win over the checkpoint's
            own settings.
        model_dir: where configurations are; see :func:`model_directory`.
        speed: see :mod:`slmsam2.modeling.speed`.

    Returns:
        The network; its ``info`` says which model and version it is.

    Raises:
        ConfigurationError: unknown configuration or override, an image size that no encoder takes, or no such device.
        CheckpointError: a file that is missing, damaged, or does not fit.
    """
    device, settings = usable_device(device), copy.deepcopy(load_config(config, model_dir))
    loaded = read_checkpoint(checkpoint) if checkpoint is not None else None
    if loaded is not None:
        _override(settings, {k: v for k, v in loaded.settings.items() if k in WEIGHT_SETTINGS})
        if loaded.kind == "sam2":
            settings.model.fuse_unconditioned = False
    _override(settings, overrides or {})
    faster = speed_settings(settings, speed)
    if "scale" in faster:
        settings.model.image_size = scaled_size(settings.model.image_size, faster["scale"])
    _check_size(settings.model.image_size)
    side = settings.model.image_size // settings.model.get("backbone_stride", 16)
    for attention in ("self_attention", "cross_attention"):  # else it is remade at the first slice
        settings.model.memory_attention.layer[attention].feat_sizes = [side, side]
    network: SLMSAM2 = instantiate(settings.model)
    if loaded is not None:
        load_weights(network, loaded)
        network.looks = {name: one.to(device) for name, one in loaded.looks.items()}
    network.stride = faster.get("stride", 1)
    network.info = _describe(config, network, loaded)
    network.inference = InferenceSettings.read(settings.get("inference", {}))
    network.info["learning"] = OmegaConf.to_container(settings.get("learning", OmegaConf.create()))
    network.info["confidence"] = _confidence_settings(network.info["model"], model_dir)
    half = faster.get("encoder") == "bfloat16" and has_bfloat16(device)
    network.info |= {"speed": speed, "encoder": "bfloat16" if half else "float32"}
    network = network.to(device).eval()
    # trunks work channels last: on a CPU, convolutions that do as well save copies, at equal results
    return network.to(memory_format=torch.channels_last) if network.device.type == "cpu" else network


def _check_size(image_size: Any) -> None:
    if not isinstance(image_size, int) or image_size < SIZE_STEP or image_size % SIZE_STEP:
        raise ConfigurationError(f"The image size is {image_size!r}: it must be a multiple of {SIZE_STEP}.")


def confidence_path(name: str, model_dir: str | Path | None = None) -> Path:
    """Where the coefficients of model ``name``'s confidence are: ``<model_dir>/confidence/<name>.yaml``."""
    return model_directory(model_dir) / "confidence" / f"{name}.yaml"


def _confidence_settings(name: str, model_dir: str | Path | None) -> dict[str, Any] | None:
    """What is in that file, else in the repository's; None when there is none."""
    for path in (confidence_path(name, model_dir), confidence_path(name, _REPOSITORY_MODELS)):
        if path.is_file():
            return dict(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    return None


def _override(settings: DictConfig, values: dict[str, Any]) -> None:
    allowed = set(settings.model) | set(WEIGHT_SETTINGS)
    for key, value in values.items():
        if key.split(".")[0] not in allowed:
            raise ConfigurationError(
                f"There is no model setting {key!r}. Known: {', '.join(sorted(allowed))}."
            )
        OmegaConf.update(settings.model, key, value)


def _describe(config: str | Path | DictConfig, network: SLMSAM2, loaded: Checkpoint | None) -> dict[str, Any]:
    named = Path(str(config)).stem if isinstance(config, (str, Path)) else "custom"
    return {
        "model": named,
        "version": loaded.version if loaded else "untrained",
        "weights": loaded.kind if loaded else "random",
        **{name: getattr(network, name) for name in WEIGHT_SETTINGS},
        "trained": dict(loaded.trained) if loaded else {},
    }
