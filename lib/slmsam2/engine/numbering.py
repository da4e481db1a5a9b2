"""Slices, ranges and directions as users name them, along the image's stored axes, and as the stack has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from slmsam2.engine.settings import Order, Settings
from slmsam2.errors import ConfigurationError, PromptError
from slmsam2.prompts import Prompt, is_empty
from slmsam2.volume import SliceView

Direction = Literal["both", "forward", "backward"]


def most_named(slices: Iterable[Mapping[int, Sequence[int]]], default: int) -> int | None:
    """The axis that most slices are named along, of several `default` if it is one; None where none are named."""
    counts: Counter[int] = Counter()
    for by_axis in slices:
        counts.update({axis: len(listed) for axis, listed in by_axis.items()})
    return max(+counts, key=lambda axis: (counts[axis], axis == default), default=None)


def stack_planes(slices: Mapping[int, Sequence[int]], view: SliceView) -> dict[int, list[int]]:
    """Slices that a user names, by stored axis, as slices (0), rows (1) and columns (2) of the stack.

    Raises:
        PromptError: there is no such axis or slice.
    """
    unknown = sorted(set(slices) - {0, 1, 2})
    if unknown:
        raise PromptError(f"There is no axis {unknown[0]!r}: choose 0, 1 or 2.")
    named = {dimension: slices.get(axis, ()) for dimension, axis in enumerate(view.order)}
    return {
        dimension: [stack_slice(index, view, dimension) for index in listed]
        for dimension, listed in named.items()
        if listed
    }


def stack_slice(stored: int, view: SliceView, dimension: int = 0) -> int:
    """Number in the stack of a slice that a user names; of a row (1) or column (2) of one along another axis.

    Raises:
        PromptError: there is no such slice.
    """
    length = (view.num_slices, *view.slice_shape)[dimension]
    if not isinstance(stored, (int, np.integer)) or not 0 <= stored < length:
        raise PromptError(
            f"There is no slice {stored!r}: along axis {view.order[dimension]} slices are 0 to {length - 1}."
        )
    return view.stack_index(stored, dimension)


def in_range(
    name: str, prompts: Mapping[int, Prompt], settings: Settings, view: SliceView
) -> dict[int, Prompt]:
    """The prompts of a structure of this name on the slices that its propagation may go to.

    Raises:
        PromptError: none of these says where the structure is, but others do.
    """
    low, high = settings.bounds(view.num_slices)
    inside = {index: prompt for index, prompt in prompts.items() if low <= index <= high}
    outside = sorted(view.stored_index(index) for index, prompt in prompts.items() if not is_empty(prompt))
    if outside and all(map(is_empty, inside.values())):
        first, last = sorted(map(view.stored_index, (low, high)))
        raise PromptError(
            f"The slices {first} to {last} are asked for, but {name} is painted on {_listed(outside)} only. "
            "Paint it on one of those, or ask for more slices."
        )
    return inside


def _listed(slices: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(map(str, slices[:most]))
    return f"{shown} and {len(slices) - most} more" if len(slices) > most else shown


def slice_settings(
    view: SliceView,
    direction: Direction,
    first_slice: int | None,
    last_slice: int | None,
    stop_after: int | None,
    order: Order,
) -> Settings:
    """Turn directions and ranges of the stored axis into those of the stack."""
    if direction not in ("both", "forward", "backward"):
        raise ConfigurationError(f"Unknown direction {direction!r}: use 'both', 'forward' or 'backward'.")
    if stop_after is not None and (not isinstance(stop_after, int) or stop_after < 1):
        raise ConfigurationError("stop_after must be a number of slices, 1 or more.")
    ranged = first_slice is not None or last_slice is not None
    ends = [
        stack_slice(0 if first_slice is None else first_slice, view),
        stack_slice(view.num_slices - 1 if last_slice is None else last_slice, view),
    ]
    if first_slice is not None and last_slice is not None and first_slice > last_slice:
        raise PromptError(f"first_slice {first_slice} comes after last_slice {last_slice}: exchange them.")
    reversed_axis = view.stack_index(0) != 0
    forward, backward = direction != "backward", direction != "forward"
    return Settings(
        order=order,
        up=backward if reversed_axis else forward,
        down=forward if reversed_axis else backward,
        first=min(ends) if ranged else None,
        last=max(ends) if ranged else None,
        stop_after=stop_after,
    )
