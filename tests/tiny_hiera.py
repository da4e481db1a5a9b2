"""A network of the published kind, as small as it gets."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from slmsam2.modeling import load_config


def write_tiny_model(model_dir: Path, name: str) -> None:
    """Its configuration ``name`` in a model folder: with the dropout of the Hiera models, inputs of 64 x 64 pixels."""
    config = load_config("slm_sam2_hiera_t")
    config.model.image_size = 64
    trunk, neck = config.model.image_encoder.trunk, config.model.image_encoder.neck
    trunk.embed_dim, trunk.stages, trunk.global_att_blocks = 8, [1, 1, 2, 1], [3]
    neck.backbone_channel_list = [64, 32, 16, 8]
    config.model.memory_attention.num_layers = 1
    (model_dir / "configs").mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, model_dir / "configs" / f"{name}.yaml")
