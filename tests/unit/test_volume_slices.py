"""Geometry: the stack of slices, and the slice axis."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.volume import SliceView, Volume, default_axis, painted_axis, read_label, read_volume

pytestmark = pytest.mark.unit

ORIENTATIONS = [
    np.column_stack([order, flips])
    for order in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]


def reoriented(volume: Volume, orientation: np.ndarray) -> Volume:
    """The same anatomy stored in another axis order and direction."""
    array = apply_orientation(volume.array, orientation)
    return Volume(array, volume.affine @ inv_ornt_aff(orientation, volume.shape))


def test_there_are_48_orientations() -> None:
    assert len({tuple(orientation.ravel()) for orientation in ORIENTATIONS}) == 48


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_all_48_orientations_give_one_stack_and_come_back(numbered_volume: Volume, axis: int) -> None:
    reference_view = SliceView(numbered_volume.shape, numbered_volume.affine, axis)
    reference = reference_view.to_stack(numbered_volume.array)
    for orientation in ORIENTATIONS:
        stored = reoriented(numbered_volume, orientation)
        stored_axis = int(orientation[axis, 0])
        view = SliceView(stored.shape, stored.affine, stored_axis)
        stack = view.to_stack(stored.array)
        np.testing.assert_array_equal(stack, reference)
        np.testing.assert_array_equal(view.to_stored(stack), stored.array)
        assert view.spacing == pytest.approx(reference_view.spacing)
        assert view.num_slices == len(reference)
        for index in range(view.num_slices):
            stored_slice = view.stored_index(index)
            assert view.stack_index(stored_slice) == index
            assert set(stack[index].ravel()) == set(stored.array.take(stored_slice, stored_axis).ravel())


@settings(max_examples=50, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-25, 25)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
    axis=st.integers(0, 2),
)
def test_oblique_round_trip(
    angles: tuple[float, ...],
    spacing: tuple[float, ...],
    shape: tuple[int, int, int],
    orientation: np.ndarray,
    axis: int,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    volume = Volume(np.arange(np.prod(shape)).reshape(shape), affine)
    reference = SliceView(shape, affine, axis).to_stack(volume.array)
    stored = reoriented(volume, orientation)
    view = SliceView(stored.shape, stored.affine, int(orientation[axis, 0]))
    np.testing.assert_array_equal(view.to_stack(stored.array), reference)
    np.testing.assert_array_equal(view.to_stored(view.to_stack(stored.array)), stored.array)


def test_stack_is_a_view_in_display_orientation() -> None:
    array = np.zeros((4, 5, 6), np.uint8)  # RAS+
    array[3, 0, 0] = 1  # the most right, posterior, inferior voxel
    axial, coronal, sagittal = (SliceView(array.shape, np.eye(4), axis).to_stack(array) for axis in (2, 1, 0))
    assert np.shares_memory(axial, array)
    assert axial.shape == (6, 5, 4)
    assert coronal.shape == (5, 6, 4)
    assert sagittal.shape == (4, 6, 5)
    assert (
        axial[0, 4, 0] == 1
    )  # inferior slice, posterior row at the bottom, right of the patient on the left
    assert coronal[0, 5, 0] == 1  # posterior slice, inferior row at the bottom
    assert sagittal[3, 5, 4] == 1  # right slice, inferior row at the bottom, posterior column on the right


def test_slice_view_refuses_other_axes_and_broken_affines() -> None:
    with pytest.raises(ConfigurationError, match="choose 0, 1 or 2"):
        SliceView((2, 3, 4), np.eye(4), 3)
    with pytest.raises(VolumeError, match="geometry is broken"):
        SliceView((2, 3, 4), np.diag([1.0, 0, 1, 1]), 0)


@pytest.mark.parametrize(
    ("spacing", "shape", "expected"),
    [
        ((0.8, 0.8, 5.0), (9, 9, 9), 2),
        ((4.0, 1.0, 1.0), (9, 9, 9), 0),
        ((1.0, 1.25, 1.0), (9, 9, 9), 1),
        ((1.0, 1.19, 1.0), (9, 9, 9), 2),
        ((1.0, 1.0, 1.0), (9, 1, 9), 1),
        ((3.0, 3.0, 1.0), (9, 9, 9), 2),
    ],
)
def test_default_axis(spacing: tuple[float, ...], shape: tuple[int, ...], expected: int) -> None:
    assert default_axis(Volume(np.zeros(shape), np.diag([*spacing, 1.0]))) == expected


def test_default_axis_is_axial_in_any_axis_order() -> None:
    volume = Volume(np.zeros((4, 5, 6)), np.eye(4))
    for orientation in ORIENTATIONS:
        assert default_axis(reoriented(volume, orientation)) == orientation[2, 0]


def ball() -> np.ndarray:
    return np.linalg.norm(np.indices((40, 40, 40)).T - 20, axis=-1).T <= 12


@pytest.mark.parametrize("default", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slices", [[20], [12, 20, 27], [20, 21], [12, 19, 20, 21, 28]])
def test_painted_axis_is_found(slices: list[int], axis: int, default: int) -> None:
    mask = np.zeros((40, 40, 40), bool)
    chosen: list = [slice(None)] * 3
    chosen[axis] = slices
    mask[tuple(chosen)] = ball()[tuple(chosen)]
    assert painted_axis(mask, default) == axis


def test_painted_axis_when_the_paint_does_not_tell() -> None:
    nothing = np.zeros((40, 40, 40), bool)
    voxel, line, sheet, strip = (nothing.copy() for _ in range(4))
    voxel[3, 4, 5] = True
    line[3, 4:20, 5] = True  # one thick along 0 and 2
    sheet[3:25, 10, 5] = True
    strip[3, 4:20, 5:7] = True  # a line on each of two slices of axis 2, or a strip on one of axis 0
    sheet[25, 10:20, 5] = True  # a bent sheet painted on one slice of axis 2
    for default in range(3):
        assert painted_axis(nothing, default) == default
        assert painted_axis(ball(), default) == default
        assert painted_axis(voxel, default) == default
        assert painted_axis(sheet, default) == 2
        assert painted_axis(line, default) == default
        assert painted_axis(strip, default) == default


@pytest.mark.parametrize("name", ["ts_ct_abdomen_3mm", "tptbox_mri_spine_1p5mm", "vxm_brain_t1_fs"])
def test_real_volumes_are_upright(shared, name: str) -> None:
    folder = shared / "volumes" / name
    image, label = read_volume(folder / "image.nii.gz"), read_label(folder / "label.nii.gz")
    axis = default_axis(image)
    assert nib.aff2axcodes(image.affine)[axis] in "IS"
    view = SliceView(image.shape, image.affine, axis)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(label.array, label.affine)).get_fdata()
    expected = canonical[::-1, ::-1].T  # RAS+ to slices up, rows to the back, columns to the left
    np.testing.assert_array_equal(view.to_stack(label.array), expected)
    np.testing.assert_array_equal(view.to_stored(view.to_stack(image.array)), image.array)
