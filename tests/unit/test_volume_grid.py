"""Labels on the image's grid, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from slmsam2.errors import GridError
from slmsam2.volume import Volume, label_on_grid, lies_on_voxels

pytestmark = pytest.mark.unit


@pytest.fixture
def image() -> Volume:
    affine = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 80], [0, 0, 2.0, -50], [0, 0, 0, 1]])
    return Volume(np.zeros((20, 18, 10), np.int16), affine)


def painted(shape: tuple[int, ...], affine: np.ndarray, where: tuple, value: int = 3) -> Volume:
    array = np.zeros(shape, np.int32)
    array[where] = value
    return Volume(array, affine)


def test_same_grid_is_passed_on(image: Volume) -> None:
    affine = image.affine.copy()
    affine[:3, 3] += 5e-4
    label = painted(image.shape, affine, np.s_[2:5, 3:8, 4])
    assert label_on_grid(label, image) is label.array


def test_labels_cropped_along_the_slices_fall_back_into_place(image: Volume) -> None:
    full = painted(image.shape, image.affine, np.s_[2:5, 3:8, 4:6])
    affine = image.affine.copy()
    affine[2, 3] += 3 * 2.0  # three slices cut off
    cropped = Volume(full.array[:, :, 3:7], affine)
    np.testing.assert_array_equal(label_on_grid(cropped, image), full.array)
    affine[2, 3] += 1 * 2.0 - 1e-7
    one = Volume(full.array[:, :, 4:5], affine)
    result = label_on_grid(one, image)
    np.testing.assert_array_equal(result[:, :, 4], full.array[:, :, 4])
    assert np.count_nonzero(result) == np.count_nonzero(full.array[:, :, 4])


def test_other_axis_order_of_the_same_grid(image: Volume) -> None:
    full = painted(image.shape, image.affine, np.s_[2:5, 3:8, 4])
    flipped = image.affine @ np.array([[-1, 0, 0, 19], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = flipped[:, [2, 0, 1, 3]]  # stored as (k, i, j)
    label = Volume(full.array[::-1].transpose(2, 0, 1), turned)
    np.testing.assert_array_equal(label_on_grid(label, image), full.array)


def test_half_the_resolution_is_nearest_neighbour(image: Volume) -> None:
    affine = image.affine @ np.diag([2, 2, 1, 1])
    affine[:3, 3] += image.affine[:3, :3] @ [0.5, 0.5, 0]  # voxel edges coincide
    label = painted((10, 9, 10), affine, np.s_[3:5, 4, 6])
    expected = painted(image.shape, image.affine, np.s_[6:10, 8:10, 6])
    np.testing.assert_array_equal(label_on_grid(label, image), expected.array)


def test_rotated_grid_keeps_the_place(image: Volume) -> None:
    turn = np.deg2rad(20)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    label = painted((60, 60, 40), rotation @ np.diag([0.5, 0.5, 0.5, 1]), np.s_[20:40, 10:30, 5:25])
    centre = label.affine[:3] @ [29.5, 19.5, 14.5, 1]
    target = Volume(np.zeros((40, 40, 40), np.int16), np.eye(4))
    target.affine[:3, 3] = centre - 20.1
    result = label_on_grid(label, target)
    assert np.count_nonzero(result) == pytest.approx(10**3, rel=0.05)  # a cube of 10 mm, in voxels of 1 mm
    assert np.argwhere(result).mean(axis=0) == pytest.approx([20.1] * 3, abs=0.5)


def test_labels_elsewhere_are_refused_with_both_positions(image: Volume) -> None:
    away = image.affine.copy()
    away[2, 3] += 400
    for label in (
        painted(image.shape, away, np.s_[2:5, 3:8, 4]),  # elsewhere
        painted(image.shape, away, np.s_[0:0]),  # elsewhere and empty
        painted((20, 18, 40), image.affine, np.s_[2:5, 3:8, 30]),  # overlaps, but painted outside
        painted(
            (20, 18, 10), image.affine @ np.diag([0.2, 0.2, 0.2, 1]), np.s_[7, 7, 7]
        ),  # between voxel centres
    ):
        with pytest.raises(
            GridError, match=r"20 x 18 x \d+ voxels.*mm RAS.*20 x 18 x 10 voxels.*Paint on this"
        ):
            label_on_grid(label, image)


def test_a_label_saved_without_its_geometry_is_refused_not_moved(image: Volume) -> None:
    where = np.s_[2:12, 3:13, 4]
    bare = np.diag([*image.spacing, 1.0])
    centred = bare.copy()
    centred[:3, 3] = -bare[:3, :3] @ (np.array(image.shape) - 1) / 2
    for affine in (np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0]), bare, centred):
        with pytest.raises(GridError, match=r"geometry of one of them was lost.*the image's origin"):
            label_on_grid(painted(image.shape, affine, where), image)
    with pytest.raises(GridError, match="was lost"):  # the image's was
        label_on_grid(painted(image.shape, image.affine, where), Volume(image.array, np.eye(4)))


def test_the_grid_turned_about_0_is_no_lost_geometry() -> None:
    """As a label that a viewer stores in another order, for an image whose centre is at 0."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = [-9.5, -8.5, -9.0]
    place = Volume(np.zeros((20, 18, 10), np.int16), affine)
    full = painted(place.shape, affine, np.s_[2:5, 3:8, 4])
    flipped = affine @ np.array([[-1, 0, 0, 19], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    label = Volume(full.array[::-1, ::-1], flipped)
    np.testing.assert_array_equal(label_on_grid(label, place), full.array)
    assert lies_on_voxels(label, place)


def test_paint_that_lies_mostly_outside_is_refused(image: Volume) -> None:
    """But not that of a larger field of view, nor the lesser part of it."""
    up = image.affine.copy()
    up[2, 3] += 6 * 2.0
    with pytest.raises(GridError, match=r"Most of what is painted.*lies outside.*Paint on this image"):
        label_on_grid(painted(image.shape, up, np.s_[2:5, 3:8, 2:9]), image)
    assert label_on_grid(painted(image.shape, up, np.s_[2:5, 3:8, 1:6]), image).any()
    larger = image.affine.copy()
    larger[2, 3] -= 5 * 2.0
    label = painted((20, 18, 40), larger, np.s_[2:5, 3:8, 10:40])
    assert np.count_nonzero(label_on_grid(label, image)) == 3 * 5 * 5
    assert not lies_on_voxels(label, image)


def test_which_labels_lie_on_the_image_s_voxels(image: Volume) -> None:
    turned = image.affine[:, [2, 0, 1, 3]]
    crop = image.affine.copy()
    crop[:3, 3] += crop[:3, :3] @ [1, 2, 3]
    half, between = image.affine @ np.diag([2, 2, 1, 1]), image.affine.copy()
    between[0, 3] += 0.4
    for shape, affine, lies in (
        (image.shape, image.affine, True),
        ((10, 20, 18), turned, True),
        ((5, 5, 5), crop, True),
        ((10, 9, 10), half, False),
        (image.shape, between, False),
    ):
        assert lies_on_voxels(painted(shape, affine, np.s_[2, 2, 2]), image) is lies


def test_empty_label_that_overlaps_is_empty(image: Volume) -> None:
    label = painted((20, 18, 9), image.affine, np.s_[0:0])
    result = label_on_grid(label, image)
    assert result.shape == image.shape
    assert not result.any()
