"""Named ways to be faster at some cost in accuracy, as each configuration defines them under ``speeds``."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig

from slmsam2.errors import ConfigurationError

QUALITY = "quality"
SPEEDS = (QUALITY, "balanced", "fast")
SIZE_STEP = 32  # pixels: what an image size that an encoder takes is a multiple of


def speed_settings(settings: DictConfig, speed: str) -> dict[str, Any]:
    """What ``speed`` changes in a configuration: nothing for "quality", else some of

    * ``scale``: of the network's image size,
    * ``stride``: only every so many slices are looked at; on those between, the mask is carried along with the image,
    * ``encoder``: "bfloat16", the image encoder's precision where the machine has it.

    Raises:
        ConfigurationError: there is no such speed.
    """
    if speed not in SPEEDS:
        raise ConfigurationError(f"The speed {speed!r} is not known. Choose one of: {', '.join(SPEEDS)}.")
    return {} if speed == QUALITY else dict(settings.get("speeds", {}).get(speed, {}))


def scaled_size(image_size: int, scale: float) -> int:
    """An image size near ``scale * image_size`` that the encoder takes."""
    return max(2 * SIZE_STEP, round(scale * image_size / SIZE_STEP) * SIZE_STEP)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by instructions of its own."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
