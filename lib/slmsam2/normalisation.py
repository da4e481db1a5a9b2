"""How images are normalised: by the mean and standard deviation of ImageNet's channels, as SAM 2 was trained."""

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalised(grey: Tensor) -> Tensor:
    """Grey images, float32 (..., H, W), 0 to 1, as the network wants them: (..., 3, H, W)."""
    mean, std = (torch.tensor(v, device=grey.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (grey[..., None, :, :] - mean) / std


def grey_of(frames: Tensor) -> Tensor:
    """Normalised grey images, (..., 3, H, W), as they were: (..., H, W), 0 to 1."""
    return frames[..., 0, :, :] * IMAGENET_STD[0] + IMAGENET_MEAN[0]
