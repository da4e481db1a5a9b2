"""From image and painted label to the label volume: geometry, verbatim slices, names, ranges, errors."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from slmsam2 import propagate_volume
from slmsam2.errors import ConfigurationError, GridError, PromptError, VolumeError
from slmsam2.volume import Volume

pytestmark = pytest.mark.integration

AFFINE = np.diag([1.5, 2.0, 4.0, 1.0])
PAINTED = 4


@pytest.fixture
def phantom():
    """RAS image (20, 24, 9) with two ellipsoids, and a label painted on one axial slice."""
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(24), np.arange(9), indexing="ij"))
    first = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, (7, 10, 4), (4, 6, 4.4), strict=True)) < 1
    second = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, (15, 16, 4), (3, 4, 3.4), strict=True)) < 1
    rng = np.random.default_rng(0)
    image = (rng.normal(0, 5, first.shape) + 100 * first + 60 * second).astype(np.float32)
    label = np.zeros(first.shape, np.int16)
    label[..., PAINTED] = 3 * first[..., PAINTED] + 9 * (second & ~first)[..., PAINTED]
    return Volume(image, AFFINE), label


def reoriented(volume, label, order, flips):
    """The same anatomy stored with other axis order and directions."""
    image = nib.Nifti1Image(volume.array, volume.affine)
    ornt = np.stack([np.argsort(order), flips], axis=1)
    turned = image.as_reoriented(ornt)
    painted = nib.Nifti1Image(label, volume.affine).as_reoriented(ornt)
    return Volume(np.asarray(turned.dataobj), turned.affine), np.asarray(painted.dataobj), ornt


def back(array, ornt):
    inverse = nib.orientations.ornt_transform(ornt, nib.orientations.axcodes2ornt("RAS"))
    return nib.orientations.apply_orientation(array, inverse)


def test_same_anatomy_in_all_48_orientations(network, phantom):
    volume, label = phantom
    volume, label = Volume(volume.array[..., 2:7], AFFINE), np.where(label == 3, label, 0)[..., 2:7]
    expected, _ = propagate_volume(volume, label, model=network)
    assert np.count_nonzero(expected) > 2 * np.count_nonzero(label)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            image, painted, ornt = reoriented(volume, label, order, flips)
            result, report = propagate_volume(image, painted, model=network)
            assert result.shape == image.shape
            assert np.array_equal(result[painted > 0], painted[painted > 0])
            turned = nib.orientations.apply_orientation(expected, ornt)
            assert np.array_equal(result, turned), (order, flips)
            assert report["axis"] == order.index(2)


def test_painted_slices_come_back_bit_for_bit(network, phantom):
    volume, label = phantom
    result, report = propagate_volume(volume, label, model=network)
    assert np.array_equal(result[..., PAINTED], label[..., PAINTED])
    assert report["structures"]["structure_3"]["painted"] == [PAINTED]
    assert set(np.unique(result)) <= {0, 3, 9}


def test_voxels_painted_for_another_structure_are_never_overwritten(network, phantom):
    volume, label = phantom
    label[:, :, 6] = 0
    label[5:10, 8:14, 6] = 9
    result, _ = propagate_volume(volume, label, model=network)
    assert np.array_equal(result[..., 6] == 9, label[..., 6] == 9)
    only, report = propagate_volume(volume, label, model=network, structures=["structure_3"])
    assert list(report["structures"]) == ["structure_3"]
    assert np.array_equal(only == 9, label == 9)


def test_report(network, phantom):
    volume, label = phantom
    names = {"liver": 3, "spleen": 9}
    result, report = propagate_volume(volume, label, model=network, label_names=names)
    liver = report["structures"]["liver"]
    assert list(report["structures"]) == ["liver", "spleen"]
    assert liver["value"] == 3
    assert liver["first"] <= PAINTED <= liver["last"]
    assert liver["found"] + liver["empty"] == len(liver["confidence"])
    assert liver["confidence"][PAINTED] == 1.0
    assert report["suggested_slice"] in liver["confidence"]
    assert liver["gain"].keys() == liver["confidence"].keys()
    assert max(liver["gain"], key=liver["gain"].get) == liver["suggested_slice"]
    assert report["suggested_slice"] != PAINTED
    across = report["suggested_across"]
    assert across in [each["suggested_across"] for each in report["structures"].values()]
    assert across["axis"] != report["axis"]
    assert np.take(result, across["slice"], across["axis"]).any()
    assert set(report["latencies"]) == {"load", "encode", "propagate", "total"}
    json.dumps(report)


@pytest.mark.parametrize("flip", [1, -1])
def test_direction_and_range_are_in_stored_slice_numbers(network, phantom, flip):
    volume, label = phantom
    image, painted, _ = reoriented(volume, label, (0, 1, 2), (1, 1, flip))
    result, report = propagate_volume(
        image, painted, model=network, structures=[3], direction="forward", last_slice=6, first_slice=1
    )
    visited = sorted(report["structures"]["structure_3"]["confidence"])
    assert visited == [4, 5, 6]
    assert list(report["structures"]["structure_3"]["stopped"]) == ["forward"]
    assert not (result[..., [0, 1, 2, 3, 7, 8]] == 3).any()


def test_only_the_chosen_slices_are_prompts(network, phantom):
    volume, label = phantom
    label[2:4, 2:4, 7] = 3
    result, report = propagate_volume(volume, label, model=network, structures=[3], prompt_slices=[PAINTED])
    assert report["structures"]["structure_3"]["painted"] == [PAINTED]
    assert not np.array_equal(result[..., 7], label[..., 7])


def crossed(label, whole, axis, index):
    """A label with one more slice, along another axis."""
    painted = label.copy()
    plane = (slice(None),) * axis + (index,)
    painted[plane] = whole[plane]
    return painted


@pytest.fixture
def several_planes(phantom):
    """The first ellipsoid, whole, and painted on an axial, a sagittal and a coronal slice."""
    volume, _ = phantom
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(24), np.arange(9), indexing="ij"))
    whole = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, (7, 10, 4), (4, 6, 4.4), strict=True)) < 1
    painted = np.zeros(whole.shape, np.int16)
    for axis, index in ((2, PAINTED), (0, 6), (1, 11)):
        painted = crossed(painted, 3 * whole, axis, index)
    return volume, painted, whole


def test_what_is_painted_in_other_planes_is_taken_too(network, several_planes):
    volume, painted, whole = several_planes
    result, report = propagate_volume(volume, painted, model=network)
    (facts,) = report["structures"].values()
    assert (report["axis"], facts["painted"], facts["painted_across"]) == (2, [PAINTED], {0: [6], 1: [11]})
    for axis, index in ((2, PAINTED), (0, 6), (1, 11)):
        assert np.array_equal(result.take(index, axis), 3 * whole.take(index, axis))
    named, _ = propagate_volume(
        volume, np.where(whole, 3, 0), model=network, prompt_slices={2: [PAINTED], 0: [6], 1: [11]}
    )
    assert np.array_equal(named, result)
    alone, _ = propagate_volume(volume, painted, model=network, prompt_slices=[PAINTED])
    assert not np.array_equal(alone, result)


def test_a_plane_without_the_structure_stays_without_it(network, several_planes):
    volume, _, whole = several_planes
    painted = np.where(whole, 3, 0)
    painted[6] = 0
    result, report = propagate_volume(
        volume, painted, model=network, axis=2, prompt_slices={2: [PAINTED], 0: [6]}
    )
    (facts,) = report["structures"].values()
    assert facts["painted_across"] == {0: [6]}
    assert not result[6].any()
    assert np.count_nonzero(result) > np.count_nonzero(painted[..., PAINTED])


def test_planes_that_cannot_be(network, several_planes):
    volume, painted, _ = several_planes
    with pytest.raises(PromptError, match="along axis 0 slices are 0 to 19"):
        propagate_volume(volume, painted, model=network, prompt_slices={2: [PAINTED], 0: [20]})
    with pytest.raises(PromptError, match=r"prompt_slices is 6: give a list, such as \[6\]"):
        propagate_volume(volume, painted, model=network, prompt_slices={2: [PAINTED], 0: 6})
    for nothing in ({}, {2: []}):
        with pytest.raises(PromptError, match="No structure is painted on the chosen slices"):
            propagate_volume(volume, painted, model=network, prompt_slices=nothing)
    with pytest.raises(PromptError, match="no axis 3"):
        propagate_volume(volume, painted, model=network, axis=2, prompt_slices={2: [PAINTED], 3: [1]})
    with pytest.raises(ConfigurationError, match="slices of one axis only"):
        propagate_volume(
            volume, painted, model=network, prompt_slices={2: [PAINTED], 0: [6]}, order="published"
        )
    with pytest.raises(PromptError, match="No structure is painted on the chosen slices"):
        propagate_volume(volume, painted, model=network, axis=2, prompt_slices={0: [6]})


def test_several_planes_in_any_orientation(network, several_planes):
    volume, painted, _ = several_planes
    expected, _ = propagate_volume(volume, painted, model=network, axis=2)
    for order in itertools.permutations(range(3)):
        for flips in ((1, 1, 1), (-1, 1, -1), (1, -1, -1)):
            image, label, ornt = reoriented(volume, painted, order, flips)
            axis = int(ornt[2, 0])
            result, _ = propagate_volume(image, label, model=network, axis=axis)
            assert np.array_equal(result, nib.orientations.apply_orientation(expected, ornt)), (order, flips)


def test_other_axis(network, phantom):
    volume, _ = phantom
    label = np.zeros(volume.shape, np.int16)
    label[5:9, 10, 3:6] = 1
    _, report = propagate_volume(volume, label, model=network, stop_after=1)
    assert report["axis"] == 1
    assert report["structures"]["structure_1"]["painted"] == [10]


def test_errors_say_what_to_do(network, phantom):
    volume, label = phantom
    with pytest.raises(PromptError, match="Nothing is painted"):
        propagate_volume(volume, np.zeros_like(label), model=network)
    with pytest.raises(GridError, match="image's"):
        propagate_volume(volume, label[:-1], model=network)
    with pytest.raises(PromptError, match="Painted are: structure_3, structure_9"):
        propagate_volume(volume, label, model=network, structures=["heart"])
    with pytest.raises(PromptError, match="slices are 0 to 8"):
        propagate_volume(volume, label, model=network, first_slice=9)
    with pytest.raises(PromptError, match="exchange them"):
        propagate_volume(volume, label, model=network, first_slice=5, last_slice=3)
    with pytest.raises(ConfigurationError, match="direction"):
        propagate_volume(volume, label, model=network, direction="up")
    with pytest.raises(VolumeError, match="Every voxel of the image is 0"):
        propagate_volume(Volume(np.zeros(volume.shape), AFFINE), label, model=network)
    with pytest.raises(ConfigurationError, match="no axis 3: choose 0, 1 or 2"):
        propagate_volume(volume, label, model=network, axis=3)
    with pytest.raises(ConfigurationError, match=r"no axis 1\.0: choose 0, 1 or 2"):
        propagate_volume(volume, label, model=network, axis=1.0)
    for mistaken, words in (
        ({"structures": 3}, r"give a list, such as \[3\]"),
        ({"structures": "3"}, r"\['3'\]"),
    ):
        with pytest.raises(PromptError, match=words):
            propagate_volume(volume, label, model=network, **mistaken)
    with pytest.raises(PromptError, match=r"prompt_slices is 4: give a list, such as \[4\]"):
        propagate_volume(volume, label, model=network, prompt_slices=4)
    with pytest.raises(
        VolumeError, match="The image is a Nifti1Image: give a path, a Volume or a numpy array"
    ):
        propagate_volume(nib.Nifti1Image(volume.array, AFFINE), label, model=network)
    with pytest.raises(VolumeError, match="The label is a list"):
        propagate_volume(volume, label.tolist(), model=network)
    for device, words in (("gpu", "no device 'gpu'"), ("cuda:99", "device 'cuda:99'|no GPU")):
        with pytest.raises(ConfigurationError, match=words):
            propagate_volume(volume, label, device=device)
    with pytest.raises(ConfigurationError, match="slm_sam2_nano"):
        propagate_volume(volume, label, model="unknown_model")


@pytest.mark.parametrize("slices", [1, 2])
def test_very_short_volumes(network, phantom, slices):
    volume, label = phantom
    image = Volume(volume.array[..., PAINTED : PAINTED + slices], AFFINE)
    painted = label[..., PAINTED : PAINTED + slices].copy()
    painted[..., 1:] = 0
    result, report = propagate_volume(image, painted, model=network)
    assert result.shape == image.shape
    assert np.array_equal(result[..., 0], painted[..., 0])
    assert report["axis"] == 2
    assert (report["suggested_slice"] is None) == (slices == 1)
    assert report["suggested_across"] is None


def test_a_clip_of_pictures(network, tmp_path):
    """2D + time: a folder of pictures, painted on one of them."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(5):
        picture = rng.integers(0, 40, (40, 60), dtype=np.uint8)
        picture[10:25, 10 + number : 30 + number] += 150
        Image.fromarray(picture).save(folder / f"{number}.png")
    label = np.zeros((60, 40, 5), np.uint8)
    label[12:32, 10:25, 2] = 1
    result, report = propagate_volume(folder, label, model=network)
    assert result.shape == (60, 40, 5)
    assert report["axis"] == 2
    assert np.array_equal(result[..., 2], label[..., 2])
    assert report["structures"]["structure_1"]["found"] == 5


def test_slices_that_it_may_not_go_to_stay_as_they_came(network, phantom):
    volume, label = phantom
    label[..., 1] = label[..., PAINTED] == 3
    label[..., 1] *= 3
    kwargs = {"model": network, "structures": [3], "prompt_slices": [PAINTED]}
    result, _ = propagate_volume(volume, label, direction="forward", **kwargs)
    assert np.array_equal(result[..., 1] == 3, label[..., 1] == 3)
    assert not (result[..., 2] == 3).any()
    result, _ = propagate_volume(volume, label, first_slice=2, **kwargs)
    assert np.array_equal(result[..., 1] == 3, label[..., 1] == 3)
    assert (result[..., 2] == 3).any()
