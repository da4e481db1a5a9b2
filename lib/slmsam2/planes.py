"""Which planes somebody painted on, where these are not all parallel."""

from __future__ import annotations

import numpy as np

# so many times as many slices as planes show something, or these slices are what was painted: of a proposal that was
# corrected, and of a structure that is begun
CORRECTED, SKETCHED = 4, 2
MOST_PLANES = 24
# where most slices show nothing but lines, one does that has more painted than so many of them
QUIET_SHARE = 0.25
MOST_OF_IT = 0.5  # of a structure, on planes side by side


def box_of(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a mask, bool (S, H, W); an empty one where nothing is in it."""
    flat = mask.any(axis=0)
    shown = [np.flatnonzero(each) for each in (mask.any(axis=(1, 2)), flat.any(axis=1), flat.any(axis=0))]
    slices, rows, columns = (
        slice(int(each[0]), int(each[-1]) + 1) if each.size else slice(0, 0) for each in shown
    )
    return slices, rows, columns


def crossing_planes(
    mask: np.ndarray, fewer: int = CORRECTED, structure: np.ndarray | None = None
) -> dict[int, list[int]] | None:
    """The planes across the axes of a stack that together hold all that is painted.

    Args:
        mask: bool (S, H, W), what was painted, or changed, most likely on slices.
        fewer: how many times as many slices must show something as there are planes.
        structure: bool (S, H, W), all of which this is a part.

    Returns:
        Dimension -> ascending indices of slices (0), rows (1), columns (2); None where it takes too many of them: then
        it was painted slice by slice, or is a whole. So is what lies on rows or columns side by side that hold most of
        the structure: what is thin, as a vessel, does, however it was painted. And so is a line across slices, which
        lies on a row as well as on a column.
    """
    shown = np.flatnonzero(mask.any(axis=(1, 2)))
    most = min(len(shown) // fewer, MOST_PLANES)
    if most == 0:
        return None
    mask = mask[shown]
    areas = np.count_nonzero(mask, axis=(1, 2))
    quiet = mask[np.argsort(areas, kind="stable")[int(QUIET_SHARE * len(shown))]]
    if _cover(np.argwhere(quiet), most) is None:  # a whole structure is known at little cost
        return None
    planes = _cover(np.argwhere(mask), most)
    if planes is None or _has_line(mask, planes):
        return None
    if any(_beside(planes.get(dimension, [])) for dimension in (1, 2)):
        whole = mask if structure is None else structure[shown]
        if _share(whole, planes) > MOST_OF_IT:
            return None
    if 0 in planes:
        planes[0] = shown[planes[0]].tolist()
    return planes


def _has_line(mask: np.ndarray, planes: dict[int, list[int]]) -> bool:
    """Whether a mask is no more than a line on one of these rows or columns."""
    shown = [mask.take(index, along).any(axis=0) for along in (1, 2) for index in planes.get(along, [])]
    return any(np.count_nonzero(across) < 2 for across in shown)


def _share(mask: np.ndarray, planes: dict[int, list[int]]) -> float:
    """How much of a mask lies on rows and columns."""
    rest = mask.copy()
    rest[:, planes.get(1, [])] = False
    rest[:, :, planes.get(2, [])] = False
    return 1 - np.count_nonzero(rest) / np.count_nonzero(mask)


def _beside(indices: list[int]) -> bool:
    """Whether any of these, ascending, lie side by side."""
    return bool(np.diff(indices).min(initial=2) < 2)


def sketched_planes(mask: np.ndarray) -> dict[int, list[int]] | None:
    """The same of a structure that was painted in several planes, to begin with: these cross, none beside another."""
    planes = crossing_planes(mask, SKETCHED)
    if planes is None or len(planes) < 2:
        return None
    return None if any(map(_beside, planes.values())) else planes


def _cover(points: np.ndarray, most: int) -> dict[int, list[int]] | None:
    """Hyperplanes across the axes that hold all points, int (n, d): each the one that holds most of those left.

    Returns:
        Axis -> ascending indices; None where it takes more than ``most``. Of equal ones the first axis counts.
    """
    planes: dict[int, list[int]] = {}
    for _ in range(most):
        if not len(points):
            break
        counts = [np.bincount(places) for places in points.T]
        along = int(np.argmax([held.max() for held in counts]))
        index = int(counts[along].argmax())
        planes.setdefault(along, []).append(index)
        points = points[points[:, along] != index]
    return None if len(points) else {along: sorted(indices) for along, indices in sorted(planes.items())}
