"""Where a structure ends, told by its length in other volumes.

Most of what a first proposal gets wrong are the ends: a structure passes into what looks like it. People are alike, so
the structure of that name in other volumes tells where it must end, once it is known which of its slices was painted:
where areas there and nearby are those that were found here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from slmsam2.engine.interpolation import BLEND_LIMIT
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import USUAL_LENGTH, Stop
from slmsam2.volume import Profile

LEAST_VOLUMES = 3  # of which the length must be known: what differs from one to another is then seen
MOST_SPREAD = 0.2  # standard deviation of the lengths relative to their mean: a tumour has no usual length
REACH = 0.5  # of the length: slices farther from the given ones do not count in the alignment
GIVEN = 10.0  # how much a given slice counts in it, a found one next to it being 1
NOTHING = 0.3  # how much a slice counts on which nothing was found, relative to others
SIZES = np.geomspace(1 / 1.5, 1.5, 9)  # areas, relative to those in another volume: people differ
# mean differences of diameters, relative to the largest one
SIZE_COSTS = 0.1  # which a size of e or 1 / e must make up for
MOST_DIFFERENT = 0.12  # up to which a volume counts


def end_by_length(
    result: Propagation,
    profiles: Mapping[int, Sequence[Profile]],
    spacing: tuple[float, float, float],
) -> None:
    """Leave nothing of a structure beyond its usual length, in place; what was given stays.

    Args:
        result: says in ``stops`` and ``ended_by_length`` what was done.
        profiles: object id -> the object in other volumes, along these slices.
        spacing: between slices, and of the mask's rows and columns, mm.
    """
    for column, obj in enumerate(result.objects):
        known = profiles.get(obj, ())
        if not have_a_length(known):
            continue
        logits = result.low_res[:, column]
        areas = (logits > 0).sum(dim=(1, 2)).numpy() * spacing[1] * spacing[2]
        given = {end for span in result.spans[obj] for end in (span.low, span.high) if end is not None}
        ends = usual_ends(known, areas, given, spacing[0])
        if ends is None:
            continue
        result.ended_by_length.add(obj)
        low, high = ends
        present = [index for index in given if areas[index]]
        if high >= max(present) and areas[high + 1 :].any():
            logits[high + 1 :].clamp_(max=-BLEND_LIMIT)
            result.stops[obj]["up"] = Stop(high + 1, USUAL_LENGTH)
        if low <= min(present) and areas[: max(low, 0)].any():
            logits[:low].clamp_(max=-BLEND_LIMIT)
            result.stops[obj]["down"] = Stop(low - 1, USUAL_LENGTH)


def have_a_length(profiles: Sequence[Profile]) -> bool:
    """Whether there are enough volumes, and the structure is about as long in each."""
    lengths = [profile.length for profile in profiles]
    return len(lengths) >= LEAST_VOLUMES and bool(np.std(lengths, ddof=1) <= MOST_SPREAD * np.mean(lengths))


def usual_ends(
    profiles: Sequence[Profile], areas: np.ndarray, given: Collection[int], spacing: float
) -> tuple[int, int] | None:
    """The first and the last slice that a structure is on, if it is as long as in other volumes.

    Args:
        profiles: of these volumes.
        areas: mm² that were found on each slice (S,).
        given: slices that the user painted, some of which may be empty.
        spacing: between slices, mm.

    Returns:
        Slices of the stack, which may lie beyond it; the means over the volumes. None where most volumes differ too
        much from what was found, or nothing was given.
    """
    painted = [index for index in given if areas[index]]
    if not painted:
        return None
    origin = max(painted, key=lambda index: areas[index])
    distances = np.abs(np.subtract.outer(np.arange(len(areas)), painted)).min(axis=1) * spacing
    from_origin = (np.arange(len(areas)) - origin) * spacing
    offsets = []
    for profile in profiles:
        weights = np.clip(1 - distances / (REACH * profile.length + spacing), 0, 1)
        weights[areas == 0] *= NOTHING
        weights[list(given)] += GIVEN
        position, difference = _aligned(profile, areas, weights, from_origin, spacing)
        if difference <= MOST_DIFFERENT:
            offsets.append((-position, profile.length - position))
    if 2 * len(offsets) <= len(profiles):
        return None
    low, high = (round(mean / spacing) for mean in np.mean(offsets, axis=0))
    return origin + low, origin + high


def _aligned(
    profile: Profile, areas: np.ndarray, weights: np.ndarray, from_origin: np.ndarray, spacing: float
) -> tuple[float, float]:
    """Where in the other volume's structure the slice of origin lies, in mm from its first slice; and the weighted mean
    difference of diameters there, relative to the largest one."""
    counted = weights > 0
    step = min(spacing, profile.spacing)
    positions = np.arange(0, profile.length + step / 2, step)
    there = np.sqrt(profile.at(positions[:, None] + from_origin[counted]))
    here, shares = np.sqrt(areas[counted]), weights[counted] / weights.sum()
    largest = np.sqrt(profile.areas.max())
    differences = np.stack(
        [
            np.abs(scale * there - here) @ shares / (scale * largest) + SIZE_COSTS * abs(np.log(size))
            for size, scale in zip(SIZES, np.sqrt(SIZES), strict=True)
        ]
    ).min(axis=0)
    best = int(differences.argmin())
    return float(positions[best]), float(differences[best])
