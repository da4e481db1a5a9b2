"""The annotator who clicks: which mask there is to correct at first."""

import numpy as np
import pytest

from slmsam2.evaluation.clicking import AWAY, click_on
from slmsam2.evaluation.tasks import Task
from slmsam2.metrics import dice
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("slices", "index", "nearby"),
    [(7, 1, 4), (6, 5, 2), (4, 3, 0), (3, 0, None), (3, 1, None), (3, 2, None), (1, 0, None), (5, 2, None)],
)
def test_the_mask_to_correct_is_of_a_slice_nearby_or_there_is_none(slices, index, nearby):
    reference = np.zeros((20, 20, slices), bool)
    for k in range(slices):
        reference[5, 5 : 6 + k, k] = True  # longer on each slice
    image = Volume(np.zeros(reference.shape, np.float32), np.eye(4))
    label = reference.astype(np.uint8)
    task = Task("volume", "rod", "largest", image, reference, 2, index, label, {"rod": 1})
    first = next(click_on(task, None, "mask", 0), None)
    if nearby is None:
        assert first is None
    else:
        assert abs(nearby - index) == AWAY
        assert first.dice == dice(reference[..., nearby], reference[..., index])
