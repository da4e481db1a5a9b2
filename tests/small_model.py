"""A model folder with a small network of random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import OmegaConf

from slmsam2.modeling import build_model, load_config, save_checkpoint

MODEL = "small"


def write_small_model(folder: Path) -> None:
    """The embedded model's configuration for 64 x 64 pixels, and weights of version "start", as model ``MODEL``."""
    (folder / "configs").mkdir(parents=True)
    config = load_config("slm_sam2_nano")
    config.model.image_size = 64
    OmegaConf.save(config, folder / "configs" / f"{MODEL}.yaml")
    torch.manual_seed(3)
    network = build_model(MODEL, model_dir=folder)
    save_checkpoint(folder / "checkpoints" / f"{MODEL}.pt", network, version="start", trained={})
