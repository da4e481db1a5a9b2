"""What a CUDA graph needs of the host; the graph itself is tested where there is a GPU (test_cuda.py)."""

import pytest
import torch

from slmsam2.training.graphs import _KeptNumbers

pytestmark = pytest.mark.unit


def test_the_same_numbers_are_the_same_tensor_while_they_are_kept():
    with _KeptNumbers(torch.device("cpu")):
        first = torch.tensor([3, 1, 2])
        again = torch.tensor([3, 1, 2])
        other = torch.tensor([3, 1])
        reals = torch.tensor([3, 1, 2], dtype=torch.float32)
    assert again is first
    assert other.tolist() == [3, 1]
    assert reals.dtype == torch.float32
    assert torch.tensor([3, 1, 2]) is not first
