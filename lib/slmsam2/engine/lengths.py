"""Where a structure ends, and how large it is from slice to slice, told by other volumes.

Most of what a first proposal gets wrong are the ends: a structure passes into what looks like it. And masks wear down
with the distance. People are alike, so the structure of that name in other volumes tells both, once it is known which
of its slices was painted: where areas there and nearby are those that were found here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slmsam2.engine.interpolation import BLEND_LIMIT, level
from slmsam2.engine.propagation import Propagation
from slmsam2.engine.settings import USUAL_LENGTH, Stop
from slmsam2.volume import Profile

LEAST_VOLUMES = 3  # of which the length must be known: what differs from one to another is then seen
MOST_SPREAD = 0.2  # standard deviation of the lengths relative to their mean: a tumour has no usual length
REACH = 0.5  # of the length: slices farther from the given ones do not count in the alignment
GIVEN = 10.0  # how much a given slice counts in it, a found one next to it being 1
NOTHING = 0.3  # how much a slice counts on which nothing was found, relative to others
LARGEST = 1.5  # areas, relative to those in other volumes, and the other way round: people differ
SIZES = np.geomspace(1 / LARGEST, LARGEST, 9)
# mean differences of diameters, relative to the largest one
SIZE_COSTS = 0.1  # which a size of e or 1 / e must make up for
MOST_DIFFERENT = 0.12  # up to which a volume counts
USUAL = 0.6  # how much the usual area counts on a slice, that of the mask found there the rest (in a geometric mean)
MOST_RESIZED = 2.5  # times, to either side, that the usual area may be that of a mask


@dataclass(frozen=True)
class Usual:
    """A structure as it is in other volumes, laid upon the slices of this one.

    Attributes:
        first, last: slices of the stack, which may lie beyond it; the means over the volumes.
        areas: mm² on each slice (S,), nearly those of the given slices there.
    """

    first: int
    last: int
    areas: np.ndarray


def follow_others(
    result: Propagation,
    profiles: Mapping[int, Sequence[Profile]],
    spacing: tuple[float, float, float],
) -> None:
    """Leave nothing of a structure beyond its usual ends, and bring masks nearer to their usual areas, in place.

    What was given stays, and a direction in which something was given beyond the usual end goes on.

    Args:
        result: says in ``stops`` and ``ended_by_length`` what was done.
        profiles: object id -> the object in other volumes, along these slices.
        spacing: between slices, and of the mask's rows and columns, mm.
    """
    pixel = spacing[1] * spacing[2]
    for column, obj in enumerate(result.objects):
        known = profiles.get(obj, ())
        if not have_a_length(known):
            continue
        logits = result.low_res[:, column].numpy()
        areas = np.count_nonzero(logits > 0, axis=(1, 2)) * pixel
        given = {end for span in result.spans[obj] for end in (span.low, span.high) if end is not None}
        usual = usual_in(known, areas, given, spacing[0])
        if usual is None:
            continue
        result.ended_by_length.add(obj)
        result.stops[obj] |= _ended(logits, areas, given, usual)
        for index in set(np.flatnonzero(areas)) - given:
            if usual.areas[index] and (logits[index] > 0).any():
                ratio = np.clip(usual.areas[index] / areas[index], 1 / MOST_RESIZED, MOST_RESIZED)
                logits[index] -= level(logits[index], areas[index] / pixel * ratio**USUAL)


def _ended(logits: np.ndarray, areas: np.ndarray, given: Collection[int], usual: Usual) -> dict[str, Stop]:
    """End the mask logits (S, n, n) of one structure; returns the directions in which something was taken away."""
    present = [index for index in given if areas[index]]
    ends = {}
    if usual.last >= max(present) and areas[usual.last + 1 :].any():
        beyond = logits[usual.last + 1 :]
        np.minimum(beyond, -BLEND_LIMIT, out=beyond)
        ends["up"] = Stop(usual.last + 1, USUAL_LENGTH)
    if usual.first <= min(present) and areas[: max(usual.first, 0)].any():
        beyond = logits[: usual.first]
        np.minimum(beyond, -BLEND_LIMIT, out=beyond)
        ends["down"] = Stop(usual.first - 1, USUAL_LENGTH)
    return ends


def have_a_length(profiles: Sequence[Profile]) -> bool:
    """Whether there are enough volumes, and the structure is about as long in each."""
    lengths = [profile.length for profile in profiles]
    return len(lengths) >= LEAST_VOLUMES and bool(np.std(lengths, ddof=1) <= MOST_SPREAD * np.mean(lengths))


def usual_in(
    profiles: Sequence[Profile], areas: np.ndarray, given: Collection[int], spacing: float
) -> Usual | None:
    """The structure as it would be if it were as in other volumes.

    Args:
        profiles: of these volumes.
        areas: mm² that were found on each slice (S,).
        given: slices that the user painted, some of which may be empty.
        spacing: between slices, mm.

    Returns:
        None where most volumes differ too much from what was found, or nothing was given.
    """
    painted = sorted(index for index in given if areas[index])
    if not painted:
        return None
    origin = max(painted, key=lambda index: areas[index])
    slices = np.arange(len(areas))
    distances = np.abs(np.subtract.outer(slices, painted)).min(axis=1) * spacing
    from_origin = (slices - origin) * spacing
    offsets, there = [], []
    for profile in profiles:
        weights = np.clip(1 - distances / (REACH * profile.length + spacing), 0, 1)
        weights[areas == 0] *= NOTHING
        weights[list(given)] += GIVEN
        position, difference = _aligned(profile, areas, weights, from_origin, spacing)
        if difference <= MOST_DIFFERENT:
            offsets.append((-position, profile.length - position))
            there.append(profile.at(position + from_origin))
    if 2 * len(offsets) <= len(profiles):
        return None
    low, high = (round(mean / spacing) for mean in np.mean(offsets, axis=0))
    usual = np.mean(there, axis=0)
    known = [index for index in painted if usual[index]]
    if not known:  # painted where there is a gap elsewhere
        return None
    sizes = np.clip(areas[known] / usual[known], 1 / LARGEST, LARGEST)
    return Usual(origin + low, origin + high, usual * np.exp(np.interp(slices, known, np.log(sizes))))


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
