"""Between the stored array of a volume and the stack of slices used inside."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import io_orientation

from slmsam2.errors import ConfigurationError
from slmsam2.volume.volume import checked_affine


class SliceView:
    """A volume seen as a stack (S, H, W) of slices along one stored axis.

    The stack is in the canonical orientation closest to the affine, whatever the axis order and directions in
    the file. Slices ascend towards superior, anterior or right. In each slice rows run from superior to
    inferior (axial: anterior to posterior) and columns from the patient's right to left (sagittal:
    anterior to posterior), as radiologists look at it.

    Args:
        shape: (I, J, K) of the stored array.
        affine: (4, 4), voxel index -> RAS+ mm.
        axis: the stored axis the slices are along, 0 to 2.

    Raises:
        ConfigurationError: no such axis.
        VolumeError: the affine is broken.
    """

    def __init__(self, shape: tuple[int, int, int], affine: np.ndarray, axis: int) -> None:
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or axis not in (0, 1, 2):
            raise ConfigurationError(f"There is no slice axis {axis!r}: choose 0, 1 or 2.")
        affine = checked_affine(affine)
        orientation = io_orientation(affine)
        patient_axis = orientation[:, 0].astype(int)  # of each stored axis: 0 right, 1 anterior, 2 superior
        in_plane = [other for other in range(3) if other != axis]
        column, row = sorted(in_plane, key=lambda other: patient_axis[other])
        self.axis = axis
        self._shape, self._affine = shape, affine
        self.num_slices = int(shape[axis])
        self.slice_shape = (int(shape[row]), int(shape[column]))
        self.patient_axis = int(patient_axis[axis])
        """That the slices are along: 0 right, 1 anterior, 2 superior."""
        self.order = (axis, row, column)
        """The stored axes of slices, rows and columns."""
        # Slices ascend along RAS+, rows and columns descend.
        self._flips = tuple(orientation[self.order, 1] * [1, -1, -1] < 0)
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        self.spacing = (float(lengths[axis]), float(lengths[row]), float(lengths[column]))
        """Distance in mm between slices, between rows, and between columns."""

    def to_stack(self, array: np.ndarray) -> np.ndarray:
        """(I, J, K) stored -> (S, H, W), a view."""
        return array.transpose(self.order)[self._flip]

    def to_stored(self, stack: np.ndarray) -> np.ndarray:
        """(S, H, W) -> (I, J, K) stored, a view."""
        return stack[self._flip].transpose(np.argsort(self.order))

    def stack_index(self, stored_slice: int, dimension: int = 0) -> int:
        """Number in the stack of a slice numbered along the stored axis; or of a row (1), or of a column (2)."""
        return self.stored_index(stored_slice, dimension)  # a reversal is its own inverse

    def stored_index(self, stack_slice: int, dimension: int = 0) -> int:
        """Number along the stored axis of a slice numbered in the stack; or of a row (1), or of a column (2)."""
        length = (self.num_slices, *self.slice_shape)[dimension]
        return length - 1 - stack_slice if self._flips[dimension] else stack_slice

    def across(self, dimension: int) -> SliceView:
        """The same volume as a stack along its rows (1) or its columns (2)."""
        return SliceView(self._shape, self._affine, self.order[dimension])

    def stack_position(self, point: tuple[int, int, int]) -> tuple[int, int, int]:
        """(slice, row, column) in the stack of a stored voxel (i, j, k)."""
        lengths = (self.num_slices, *self.slice_shape)
        places = [
            length - 1 - point[axis] if flipped else point[axis]
            for axis, length, flipped in zip(self.order, lengths, self._flips, strict=True)
        ]
        return places[0], places[1], places[2]

    @property
    def _flip(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if flipped else slice(None) for flipped in self._flips)
