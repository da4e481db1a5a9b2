"""Which device a client or a setting means."""

from __future__ import annotations

import torch
from monailabel.utils.others.generic import device_list, name_to_device

from slmsam2.errors import ConfigurationError


def resolve_device(name: str | None) -> str:
    """The torch name of a device.

    Args:
        name: display name ("NVIDIA H200") or torch name ("cuda:1"; the CPU where there is no GPU); None: the
            best there is.

    Raises:
        ConfigurationError: no such device; the message lists what there is.
    """
    if not isinstance(name, (str, type(None))):
        raise ConfigurationError(f"device must be a text, not {name!r}.")
    try:
        device = torch.device(name_to_device(name))
    except RuntimeError:
        device = None
    here = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if device is None or (device.index or 0) >= here.get(device.type, 0):
        listed = ", ".join(dict.fromkeys([*device_list(), "cpu"]))
        raise ConfigurationError(f"There is no device {name!r} here. Choose one of: {listed}.")
    return f"cuda:{device.index or 0}" if device.type == "cuda" else device.type


def check_own_device(name: str) -> None:
    """Check the device that a server is started with; unlike that of a client, a GPU is never replaced by the CPU.

    Raises:
        ConfigurationError: no such device.
    """
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(
            f"--conf device {name}: there is no GPU here that can be used. Check it with nvidia-smi; a service may "
            "hide it (PrivateDevices=true in its unit), as may CUDA_VISIBLE_DEVICES. Or start with --conf device cpu."
        )
    resolve_device(name)
