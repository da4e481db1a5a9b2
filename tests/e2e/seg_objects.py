"""A DICOM SEG, read frame by frame by the standard, independently of the server's way."""

from __future__ import annotations

import numpy as np
import pydicom


def segments(data: pydicom.Dataset) -> dict[int, str]:
    """Segment number -> label."""
    return {int(each.SegmentNumber): str(each.SegmentLabel) for each in data.SegmentSequence}


def labelmap(data: pydicom.Dataset, shape: tuple[int, int, int], lps: np.ndarray) -> np.ndarray:
    """The segment numbers on a series' grid, uint8 (I, J, K).

    Args:
        lps: 4 x 4, voxel (i, j, k) of the series -> mm.
    """
    result = np.zeros(shape, np.uint8)
    frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    to_voxel = np.linalg.inv(lps)
    for frame, groups in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        i, j, k = np.rint((to_voxel @ [*position, 1])[:3]).astype(int)
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        part = result[i : i + data.Columns, j : j + data.Rows, k]
        part[frame.T > 0] = number
    return result
