"""A volume as it is stored: voxels, where they are in the patient, and what made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmsam2.errors import VolumeError

# Patient axes of DICOM and ITK (left, posterior, superior) to those of NIfTI (right, anterior, superior).
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ALIKE = 1e-4  # difference of affines, mm, and relative

Places = tuple[np.ndarray, np.ndarray | None]
"""An affine, and the one by which other programs have the same image, where that is another."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their geometry.

    Attributes:
        array: (I, J, K), real numbers, axes in the order nibabel gives them.
        affine: (4, 4) float64, voxel index (i, j, k) -> position in mm, RAS+.
        modality: DICOM modality code ("CT", "MR", "US", ...), None when unknown.
        path: the file or folder it was read from, None when it was made in memory.
        other_affine: by which other programs than ITK's have it, where the file leaves that open; None: there is none.

    Raises:
        VolumeError: the array is not a 3D array of real numbers, or the affine is broken.
    """

    array: np.ndarray
    affine: np.ndarray
    modality: str | None = None
    path: Path | None = None
    other_affine: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or 0 in self.array.shape:
            raise VolumeError(
                f"The array has shape {shape_text(self.array.shape)}: one 3D volume with at least one voxel "
                "is needed."
            )
        if self.array.dtype.kind not in "buif":
            raise VolumeError(f"Voxels of type {self.array.dtype} cannot be used: save real numbers.")
        object.__setattr__(self, "affine", checked_affine(self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (i, j, k)."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def places(self) -> tuple[np.ndarray, ...]:
        """Each affine by which programs may show it."""
        return (self.affine,) if self.other_affine is None else (self.affine, self.other_affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (i, j, k), in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two affines put an image in one place."""
    return bool(np.allclose(one, other, rtol=ALIKE, atol=ALIKE))


def checked_affine(affine: np.ndarray) -> np.ndarray:
    """The affine as (4, 4) float64, or VolumeError when it cannot place voxels in space."""
    affine = np.array(affine, dtype=np.float64)
    broken = affine.shape != (4, 4) or not np.isfinite(affine).all()
    if not broken:
        with np.errstate(over="ignore"):  # of absurd spacings; what overflows is broken
            lengths = np.linalg.norm(affine[:3, :3], axis=0)
        # The determinant of unit-length axes: 1 when they are square to each other, 0 when two coincide.
        broken = (
            not np.allclose(affine[3], (0, 0, 0, 1))
            or not 0 < lengths.min() <= lengths.max() < np.inf
            or not abs(np.linalg.det(affine[:3, :3] / lengths)) >= 1e-6
        )
    if broken:
        raise VolumeError(
            "The header's geometry is broken: its affine is singular or not finite. "
            "Repair the header (spacing, directions, origin) and try again."
        )
    return affine


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape for people: "512 x 512 x 90"."""
    return " x ".join(str(size) for size in shape)
