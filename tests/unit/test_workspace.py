"""What is kept between requests stays within its budget."""

import gc

import pytest
import torch

from slmsam2.engine.workspace import BoundedCache, Workspace, tensor_bytes

pytestmark = pytest.mark.unit


def test_the_least_recently_used_goes_first():
    cache = BoundedCache(max_bytes=30)
    for key in "abc":
        cache.put(key, key.upper(), 10)
    assert cache.get("a") == "A"
    cache.put("d", "D", 10)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert cache.bytes == 30
    cache.put("a", "other", 5)
    assert (cache.get("a"), cache.bytes, len(cache)) == ("other", 25, 3)
    cache.put("large", "L", 100)
    assert (len(cache), cache.bytes) == (1, 100)


def test_a_value_is_made_once():
    cache, made = BoundedCache(100), []
    for _ in range(2):
        value = cache.get_or_make("key", lambda: made.append(1) or [torch.zeros(2, 3)], tensor_bytes)
    assert made == [1]
    assert value[0].shape == (2, 3)
    assert cache.bytes == 24


def test_networks_have_numbers_of_their_own():
    workspace = Workspace()
    one, other = torch.nn.Identity(), torch.nn.Identity()
    assert workspace.number_of(one) == workspace.number_of(one) != workspace.number_of(other)
    numbers = {workspace.number_of(one), workspace.number_of(other)}
    del other
    gc.collect()
    assert workspace.number_of(torch.nn.Identity()) not in numbers
