"""Which grid a label lies on, and which axis of a volume is the slice axis."""

from __future__ import annotations

import itertools

import numpy as np
from nibabel.orientations import io_orientation
from scipy import ndimage

from slmsam2.errors import GridError
from slmsam2.planes import sketched_planes
from slmsam2.volume.volume import Volume, shape_text

# Grids are the same when no voxel lies further than this from its twin, in voxels.
_SAME_GRID_TOLERANCE = 1e-3
# A label may lie outside the image with so much of its paint, where it is not of a larger field of view.
_MOST_OUTSIDE = 0.5
# Slices are clearly further apart than pixels from this ratio to the middle spacing on.
_COARSE_RATIO = 1.2
_INFERIOR_SUPERIOR = 2
# Painted slices side by side: at most this many, and this many times wider than thick.
_MOST_ADJACENT_SLICES = 5
_WIDER_THAN_THICK = 4
# Less than so many voxels across is a line, not an area.
_LEAST_WIDTH = 3


def label_on_grid(label: Volume, image: Volume) -> np.ndarray:
    """The label's values at the image's voxels.

    Args:
        label: integer values, 0 is background, on any grid.
        image: the volume whose grid is wanted.

    Returns:
        (I, J, K) of the label's dtype: the label itself when both grids are the same (same shape, every voxel
        within 1e-3 of a voxel, by any of their affines), else its nearest neighbour at each voxel centre.

    Raises:
        GridError: the label does not overlap the image, or none of its painted voxels reaches an image voxel; most of
            them lie outside an image that is no part of the label's field of view; or the label has the image's shape,
            but another place, and one of the two was saved without its geometry.
    """
    values = label.array
    to_image = np.linalg.inv(image.affine) @ label.affine
    if label.shape == image.shape:
        corners = _corners(_box(label))
        for one, other in itertools.product(label.places, image.places):
            reached = _apply(np.linalg.inv(other) @ one, corners)
            if np.abs(reached - corners).max() < _SAME_GRID_TOLERANCE:
                return values
        if _lost_geometry(label, image, to_image):
            raise GridError(_lost(label, image))
    painted = values.any()
    box = _box(label)
    if painted:
        occupied = [np.flatnonzero(slices) for slices in _occupied(values != 0)]
        box = [(found[0], found[-1]) for found in occupied]
    outer = _corners([(first - 0.5, last + 0.5) for first, last in box])
    reached = _apply(to_image, outer)
    if not np.isfinite(reached).all():  # absurd positions overflow
        raise GridError(_no_overlap(label, image))
    low = np.clip(np.floor(reached.min(axis=0)), 0, image.shape).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + 1, 0, image.shape).astype(int)
    result = np.zeros_like(image.array, dtype=values.dtype)
    if (low < high).all():
        to_label = np.linalg.inv(to_image)
        # "grid-constant" keeps the outer half of the border voxels, which "constant" would cut off.
        result[tuple(map(slice, low, high))] = ndimage.affine_transform(
            values,
            to_label[:3, :3],
            offset=to_label[:3, :3] @ low + to_label[:3, 3],
            output_shape=tuple(high - low),
            order=0,
            mode="grid-constant",
        )
        if not painted or result.any():
            if _mostly_outside(values, to_image, reached, image.shape):
                raise GridError(_outside(label, image))
            return result
    raise GridError(_no_overlap(label, image))


def lies_on_voxels(label: Volume, image: Volume) -> bool:
    """Whether every label voxel, in whatever order they are stored, is a voxel of the image: none is resampled or lost.

    Args:
        label, image: on any grids.
    """
    to_image = np.linalg.inv(image.affine) @ label.affine
    corners = _corners(_box(label))
    reached, nearest = _apply(to_image, corners), _apply(np.rint(to_image), corners)
    inside = (nearest >= 0).all() and (nearest < image.shape).all()
    one_to_one = abs(round(np.linalg.det(np.rint(to_image[:3, :3])))) == 1
    return bool(inside and one_to_one and np.abs(reached - nearest).max() < _SAME_GRID_TOLERANCE)


def _lost_geometry(label: Volume, image: Volume, to_image: np.ndarray) -> bool:
    """Whether one of two volumes of one shape was saved without its geometry: they lie more than a voxel apart, and it
    lies where files without geometry are put, along the patient's axes with its first voxel or its centre at 0."""
    reached = _apply(to_image, _corners(_box(label)))
    away = np.abs([reached.min(axis=0), reached.max(axis=0) - image.shape + 1]).max()
    return away > 1 and (_is_bare(label) or _is_bare(image))


def _is_bare(volume: Volume) -> bool:
    axes = volume.affine[:3, :3]
    at_zero = (volume.affine[:3, 3], _centre(volume))
    straight = np.array_equal(axes, np.diag(np.diag(axes)))
    return straight and any(np.allclose(place, 0, atol=1e-6) for place in at_zero)


def _mostly_outside(
    values: np.ndarray, to_image: np.ndarray, reached: np.ndarray, shape: tuple[int, int, int]
) -> bool:
    """Whether most of the paint lies outside the image, and the image is no part of the label's field of view.

    Args:
        values: (I, J, K) of the label, in which some are painted.
        to_image: (4, 4), from its voxels to those of the image.
        reached: (8, 3), where the corners of what is painted lie in the image.
        shape: of the image.
    """
    end = np.array(shape) - 0.5
    if ((reached >= -1) & (reached <= end + 0.5)).all():
        return False
    edges = _apply(np.linalg.inv(to_image), _corners([(-0.5, size) for size in end]))
    if ((edges >= -1) & (edges <= values.shape)).all():
        return False
    outside = 0  # counted plane by plane: positions take much more memory than voxels do
    for index, plane in enumerate(values):
        there = np.argwhere(plane)
        places = _apply(to_image, np.column_stack([np.full(len(there), index), there]))
        outside += int(((places < -0.5) | (places > end)).any(axis=1).sum())
    return outside > _MOST_OUTSIDE * np.count_nonzero(values)


def _lost(label: Volume, image: Volume) -> str:
    return (
        f"The label ({_place(label)}) has the shape of the image ({_place(image)}), but lies elsewhere: the geometry "
        "of one of them was lost when it was saved. Save the label with the image's origin, spacing and directions."
    )


def _outside(label: Volume, image: Volume) -> str:
    return (
        f"Most of what is painted in the label ({_place(label)}) lies outside the image ({_place(image)}). "
        "Paint on this image, or export the label with this image as its reference geometry."
    )


def _no_overlap(label: Volume, image: Volume) -> str:
    return (
        f"The label ({_place(label)}) and the image ({_place(image)}) do not share a painted voxel. "
        "Paint on this image, or export the label with this image as its reference geometry."
    )


def _place(volume: Volume) -> str:
    centre = _centre(volume)
    spacing = " x ".join(f"{each:.3g}" for each in volume.spacing)
    position = ", ".join(f"{each:.0f}" for each in centre)
    return f"{shape_text(volume.shape)} voxels of {spacing} mm around ({position}) mm RAS"


def _centre(volume: Volume) -> np.ndarray:
    """Position (3,) in mm, RAS+."""
    return _apply(volume.affine, (np.array([volume.shape]) - 1) / 2)[0]


def _box(volume: Volume) -> list[tuple[float, float]]:
    """First and last index along each axis."""
    return [(0, size - 1) for size in volume.shape]


def _corners(box: list[tuple[float, float]]) -> np.ndarray:
    """The eight corners (8, 3) of a box of index ranges."""
    return np.array(list(itertools.product(*box)), dtype=np.float64)


def _apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The affine (4, 4) on points (N, 3)."""
    return points @ affine[:3, :3].T + affine[:3, 3]


def default_axis(volume: Volume) -> int:
    """The stored axis along which a volume is sliced when nothing else is known.

    The only axis with a single voxel; else the axis whose spacing is more than 1.2 times the middle one; else
    the axis closest to inferior-superior.
    """
    single = [axis for axis, size in enumerate(volume.shape) if size == 1]
    if len(single) == 1:
        return single[0]
    order = np.argsort(volume.spacing)
    if volume.spacing[order[2]] > _COARSE_RATIO * volume.spacing[order[1]]:
        return int(order[2])
    return int(np.flatnonzero(io_orientation(volume.affine)[:, 0] == _INFERIOR_SUPERIOR)[0])


def painted_axis(mask: np.ndarray, default: int) -> int:
    """The stored axis a user painted along.

    Args:
        mask: (I, J, K) bool, everything painted.
        default: the axis to take when the paint does not tell (nothing, a complete volume, a single voxel).

    Returns:
        An axis along which only separate slices are painted: `default` if it is one, else that with the
        fewest slices, else the first, of those whose slices show an area and not just a line, as anything thin
        does. Failing this, the axis along which a few slices side by side (5 at most) are painted, each much
        wider than their stack is thick. Else `default`, unless it was painted in planes across both others: then
        that of these with more of them.
    """
    if not mask.any():
        return default
    painted = _occupied(mask)
    thickness = [_longest_run(slices) for slices in painted]
    thinnest, middle, _ = sorted(range(3), key=lambda axis: thickness[axis])
    separate = [axis for axis in range(3) if thickness[axis] == 1]
    if default in separate or (separate and thickness[middle] < _LEAST_WIDTH):
        return default
    if separate:
        return min(separate, key=lambda axis: int(painted[axis].sum()))
    if thickness[thinnest] <= min(_MOST_ADJACENT_SLICES, thickness[middle] / _WIDER_THAN_THICK):
        return thinnest
    planes = sketched_planes(np.moveaxis(mask, default, 0))
    if planes is None or 0 in planes:
        return default
    others = [axis for axis in range(3) if axis != default]
    return others[max(planes, key=lambda dimension: len(planes[dimension])) - 1]


def _occupied(mask: np.ndarray) -> list[np.ndarray]:
    """For each axis, which slices along it have a True."""
    # one axis at a time: numpy takes several times the mask's memory for two
    rows_columns, columns_slices = mask.any(axis=2), mask.any(axis=0)
    return [rows_columns.any(axis=1), columns_slices.any(axis=1), columns_slices.any(axis=0)]


def _longest_run(flags: np.ndarray) -> int:
    """How many True stand side by side at most."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return int((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)).max())
