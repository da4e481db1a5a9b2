"""What is kept between requests stays within its budget."""

import gc
import os

import nibabel as nib
import numpy as np
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


def write_image(path, value):
    nib.save(nib.Nifti1Image(np.full((4, 5, 6), value, np.int16), np.eye(4)), path)


def test_an_image_is_read_once_and_anew_when_its_file_has_changed(tmp_path):
    workspace, path = Workspace(), tmp_path / "ct.nii.gz"
    write_image(path, 1)
    first = workspace.read(path)
    assert workspace.read(path) is first
    assert workspace.volumes.bytes == first.array.nbytes
    with pytest.raises(ValueError, match="read-only"):
        first.array[0, 0, 0] = 2
    write_image(path, 2)
    os.utime(path, ns=(1, 1))
    assert (workspace.read(path).array == 2).all()
    workspace.clear()
    assert len(workspace.volumes) == 0


def test_an_image_that_exceeds_the_budget_is_not_kept(tmp_path):
    workspace, path = Workspace(volume_bytes=100), tmp_path / "ct.nii.gz"
    write_image(path, 1)
    workspace.read(path)
    assert workspace.volumes.bytes == 0


def test_voxels_in_another_file_than_the_header_are_read_each_time(tmp_path):
    workspace, path = Workspace(), tmp_path / "ct.mhd"
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = ct.raw\n"
    )
    path.write_text(header)
    for value in (3, 4):
        (tmp_path / "ct.raw").write_bytes(bytes([value]) * 8)
        assert (workspace.read(path).array == value).all()
