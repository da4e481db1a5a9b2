"""Small networks with random weights, and a phantom to propagate in."""

import numpy as np
import pytest
import torch
from small_network import set_presence

from slmsam2.modeling import build_model

SIZE = 64


@pytest.fixture(scope="session")
def network():
    """The embedded configuration with seeded random weights that find something on every slice."""
    torch.manual_seed(11)
    model = build_model(
        "slm_sam2_nano", overrides={"image_size": SIZE, "num_maskmem": 3, "max_obj_ptrs_in_encoder": 3}
    )
    set_presence(model, 4.0)
    return model


@pytest.fixture
def frames():
    """float32 (S, 3, N, N): a bright square that moves by a pixel per slice."""
    noise = 0.1 * torch.randn((12, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))
    for index, frame in enumerate(noise):
        frame[:, 20:44, 16 + index : 40 + index] += 2.0
    return noise


@pytest.fixture
def square():
    """bool (40, 50), the painted mask."""
    mask = np.zeros((40, 50), bool)
    mask[12:28, 15:34] = True
    return mask
