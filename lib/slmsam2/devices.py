"""Where PyTorch can compute."""

from __future__ import annotations

import torch

from slmsam2.errors import ConfigurationError


def usable_device(name: str | torch.device) -> torch.device:
    """The device of a name, known to be there.

    Args:
        name: PyTorch's, such as "cpu", "cuda" or "cuda:1".

    Raises:
        ConfigurationError: there is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(_unknown(name)) from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(_unknown(name))
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ConfigurationError("There is no GPU that PyTorch can use here: use the device cpu.")
        if (device.index or 0) >= count:
            raise ConfigurationError(
                f"There is no device '{name}': the GPUs here are cuda:0 to cuda:{count - 1}."
            )
    return device


def _unknown(name: str | torch.device) -> str:
    return f"There is no device '{name}': use cpu, cuda or cuda:1."
