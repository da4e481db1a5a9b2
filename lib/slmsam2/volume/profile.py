"""How large a structure is from slice to slice: what its length can be learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slmsam2.volume.slices import SliceView


@dataclass(frozen=True, eq=False)
class Profile:
    """Areas of a whole structure along one of the patient's axes.

    Attributes:
        patient_axis: along which the slices ascend: 0 right, 1 anterior, 2 superior.
        spacing: between slices, mm.
        areas: float32 (L,), mm², from its first slice to its last.
    """

    patient_axis: int
    spacing: float
    areas: np.ndarray

    @property
    def length(self) -> float:
        """From its first slice to its last, mm."""
        return (len(self.areas) - 1) * self.spacing

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Areas (mm²) at positions in mm from the first slice, of any shape; 0 beyond its ends."""
        slices = np.arange(-1, len(self.areas) + 1) * self.spacing
        return np.interp(positions, slices, np.pad(self.areas, 1))


def whole_profile(pixels: np.ndarray, known: np.ndarray, view: SliceView) -> Profile | None:
    """The profile of a structure; None unless it is known where it begins and ends.

    Args:
        pixels: of the structure on each slice of the stack (S,).
        known: whether that can be trusted, bool (S,).
        view: of the stack.
    """
    present = np.flatnonzero(pixels)
    if not present.size or present[0] == 0 or present[-1] == len(pixels) - 1:
        return None
    if not known[present[0] - 1 : present[-1] + 2].all():
        return None
    between, *in_plane = view.spacing
    areas = pixels[present[0] : present[-1] + 1] * np.prod(in_plane)
    return Profile(view.patient_axis, between, areas.astype(np.float32))
