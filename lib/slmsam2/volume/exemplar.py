"""Whole structures as they are in other volumes: what their usual lengths, sizes and shapes can be learnt from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from skimage.transform import resize_local_mean

from slmsam2.volume.slices import SliceView

Kinship = Literal["twin", "neighbour"]  # the other one of a pair, mirrored; one of the same series

MOST_CELLS = 48  # along each axis
MOST_CUT_OFF = 0.5  # of its largest cross-section, that may lie at the border of slices


@dataclass(frozen=True, eq=False)
class Exemplar:
    """A whole structure of some volume, along the patient's axes: right, anterior, superior.

    Attributes:
        cells: uint8 (X, Y, Z), how much of each cell it fills, 255 being all; its bounding box and no more.
        size: of a cell, mm.
        kin: what it is to the structure that it stands for in the same volume; None if it was seen in another one.
    """

    cells: np.ndarray
    size: tuple[float, float, float]
    kin: Kinship | None = None

    def mirrored(self) -> Exemplar:
        """It as it would be on the other side of the body."""
        return replace(self, cells=self.cells[::-1])

    def along(self, patient_axis: int) -> Sections:
        """Its cross-sections along an axis (0 right, 1 anterior, 2 superior), turned as a stack of slices is."""
        order = _stack_order(patient_axis)
        filled = self.cells.transpose(order)[:, ::-1, ::-1].astype(np.float32) / 255
        between, rows, columns = (self.size[axis] for axis in order)
        return Sections(filled, (between, rows, columns), self.kin)


@dataclass(frozen=True, eq=False)
class Sections:
    """Cross-sections of a structure, from its first to its last.

    Positions along them are in mm from the face at which the structure begins, so the first section lies at half of
    their distance; those within them in mm from the corner.

    Attributes:
        filled: float32 (D, h, w), how much of each cell the structure fills, 0 to 1.
        cell: distance between sections, rows and columns, mm.
        kin: see :class:`Exemplar`.
    """

    filled: np.ndarray
    cell: tuple[float, float, float]
    kin: Kinship | None = None

    @property
    def length(self) -> float:
        """From face to face, mm."""
        return len(self.filled) * self.cell[0]

    @cached_property
    def areas(self) -> np.ndarray:
        """Of each section, mm² (D,)."""
        return self.filled.sum(axis=(1, 2), dtype=float) * self.cell[1] * self.cell[2]

    def areas_at(self, positions: np.ndarray) -> np.ndarray:
        """Areas (mm²) at positions of any shape; 0 beyond its ends."""
        places = (np.arange(-1, len(self.areas) + 1) + 0.5) * self.cell[0]
        return np.interp(positions, places, np.pad(self.areas, 1))

    def centres_at(self, positions: np.ndarray) -> np.ndarray:
        """Centres of mass (row, column) in mm at positions (P,), (P, 2); beyond its ends those of the last sections."""
        places = (np.arange(len(self.areas)) + 0.5) * self.cell[0]
        return np.stack([np.interp(positions, places, one) for one in self._centres.T], axis=1)

    @cached_property
    def _centres(self) -> np.ndarray:
        """Of each section (D, 2); of an empty one what lies between its neighbours'."""
        present = np.flatnonzero(self.areas)
        sums = self.filled[present].sum(axis=(1, 2))
        centres = []
        for axis, mm in ((2, self.cell[1]), (1, self.cell[2])):
            along = self.filled[present].sum(axis=axis)
            means = along @ (np.arange(along.shape[1]) + 0.5) / sums * mm
            centres.append(np.interp(np.arange(len(self.areas)), present, means))
        return np.stack(centres, axis=1)


def exemplar_of(
    stack: np.ndarray, known: np.ndarray, view: SliceView, *, cut_off: bool = False
) -> Exemplar | None:
    """A structure as an exemplar; None unless it is known where it begins and ends.

    Args:
        stack: of the structure, bool (S, H, W).
        known: on which slices that can be trusted, bool (S,).
        view: of the stack.
        cut_off: whether it may end with the image.
    """
    box = []
    for axis, at_the_border in enumerate((0.0, MOST_CUT_OFF, MOST_CUT_OFF)):
        sizes = np.count_nonzero(stack, axis=tuple({0, 1, 2} - {axis}))
        present = np.flatnonzero(sizes)
        if not present.size:
            return None
        if not cut_off and max(sizes[0], sizes[-1]) > at_the_border * sizes.max():
            return None
        box.append(slice(int(present[0]), int(present[-1]) + 1))
    if not known[max(box[0].start - 1, 0) : box[0].stop + 1].all():
        return None
    cut = stack[tuple(box)]
    shape = tuple(min(length, MOST_CELLS) for length in cut.shape)
    cells = np.rint(255 * resize_local_mean(cut.astype(np.float32), shape)).clip(0, 255).astype(np.uint8)
    size = [
        mm * length / cells_along
        for mm, length, cells_along in zip(view.spacing, cut.shape, shape, strict=True)
    ]
    back = np.argsort(_stack_order(view.patient_axis))
    x, y, z = (size[axis] for axis in back)
    return Exemplar(np.ascontiguousarray(cells[:, ::-1, ::-1].transpose(back)), (x, y, z))


def _stack_order(patient_axis: int) -> tuple[int, int, int]:
    """The patient's axes that slices, rows and columns are along; the latter two descend, see :class:`SliceView`."""
    column, row = sorted({0, 1, 2} - {patient_axis})
    return patient_axis, row, column
