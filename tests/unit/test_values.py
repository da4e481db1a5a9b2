"""Values and masks of label volumes, however they lie in memory."""

import numpy as np
import pytest

from slmsam2.engine.kin import boxes_of
from slmsam2.server.memory.masks import PackedMask
from slmsam2.values import present_values, where_one_of

pytestmark = pytest.mark.unit

ORDERS = {
    "last axis fastest": np.ascontiguousarray,
    "first axis fastest": np.asfortranarray,
    "a stack of slices": lambda label: np.asfortranarray(label).transpose(2, 1, 0)[:, ::-1, ::-1],
    "every other voxel": lambda label: np.repeat(label, 2, axis=1)[:, ::2],
}


@pytest.fixture(params=ORDERS.values(), ids=ORDERS.keys())
def label(request):
    values = np.random.default_rng(1).choice([0, 0, 0, 1, 2, 7, 300], (40, 50, 60)).astype(np.uint16)
    return request.param(values)


def test_present_values(label):
    assert present_values(label) == [1, 2, 7, 300]
    assert present_values(np.zeros_like(label)) == []


def test_boxes_of_values(label):
    label = label.astype(np.int32)
    label[20:, :30, :] = 0
    label[label == 300] = 2**31 - 1
    found = boxes_of(label, [2**31 - 1, 9, 2])
    assert found.keys() == {2, 2**31 - 1}
    for value, box in found.items():
        places = np.argwhere(label == value)
        edges = [(part.start, part.stop) for part in box]
        assert edges == list(zip(places.min(axis=0), places.max(axis=0) + 1, strict=True))


@pytest.mark.parametrize("values", [[2], [1, 300], [7, 9], []])
def test_where_one_of(label, values, monkeypatch):
    monkeypatch.setattr("slmsam2.values.PART", 1000)  # several parts, the last one shorter
    found = where_one_of(label, values)
    np.testing.assert_array_equal(found, np.isin(label, values))
    assert found.dtype == bool


def test_packed_masks_come_back(label):
    mask = label == 7
    packed = PackedMask.of(mask)
    np.testing.assert_array_equal(packed.unpack(), mask)
    assert len(packed.bits) <= mask.size / 8 + 100
