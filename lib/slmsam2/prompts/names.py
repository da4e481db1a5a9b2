"""What the values of a labelmap are called, when a client's list of names may disagree with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from slmsam2.values import present_values


def named_values(
    names: Mapping[str, int], label: np.ndarray, otherwise: Mapping[int, str] | None = None
) -> dict[str, int]:
    """Structure -> value of everything in a label, whatever the client said; see :func:`counts_by_order`.

    Args:
        names: structure -> value, in the client's order.
        label: integers, any shape; 0 is background.
        otherwise: value -> name for values that have none; those left are called as :func:`all_named` does.
    """
    present = [value for value in present_values(label) if value > 0]
    if counts_by_order(names.values(), present):
        names = {name: number for number, name in enumerate(names, start=1)}
    by_value = {value: name for name, value in names.items() if name}
    spare = {value: name for value, name in (otherwise or {}).items() if name not in names}
    return all_named(present, spare | by_value)


def counts_by_order(listed: Collection[int], present: Sequence[int]) -> bool:
    """Whether a client's list names the values in a label by its order, and not by its own numbers.

    3D Slicer numbers the segments in the file 1, 2, ... in the order of its list, while the list's own numbers count
    segments that were left out, too. So where the listed numbers do not account for the values, their order does.

    Args:
        listed: the list's numbers.
        present: values above 0 in the label, ascending.
    """
    return bool(present) and not set(present) <= set(listed) and present[-1] <= len(listed)


def all_named(values: Iterable[int], by_value: Mapping[int, str]) -> dict[str, int]:
    """Structure -> value, in the order of the values.

    Args:
        by_value: value -> name. Values without one are called ``structure_<value>``, and where that is the name of
            another value, with underscores after it.
    """
    taken = set(by_value.values())

    def made_up(value: int) -> str:
        name = f"structure_{value}"
        while name in taken:
            name += "_"
        return name

    return {by_value[value] if value in by_value else made_up(value): value for value in values}
