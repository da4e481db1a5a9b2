"""What the values of a labelmap are called: by a client's list of names, which may disagree with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

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


def listed_names(info: Iterable[Any]) -> dict[str, int]:
    """name -> value from a client's ``[{name, id | idx}]``; incomplete and repeated entries are left out."""
    names: dict[str, int] = {}
    for name, value in named_pairs(info):
        if name not in names and value not in names.values():
            names[name] = value
    return names


def named_pairs(info: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Name and value of each complete entry of a client's ``[{name, id | idx}]``; both may come more than once."""
    for entry in info:
        if not isinstance(entry, dict):
            continue
        name, value = entry.get("name"), entry.get("id", entry.get("idx"))
        if isinstance(name, str) and isinstance(value, int) and value >= 0:
            yield name, value


def label_names(info: dict[str, Any]) -> dict[str, int]:
    """name -> value, as saved with a label: by a client, or by an inference whose result was saved."""
    listed = info.get("label_info")
    if isinstance(listed, list):
        return listed_names(listed)
    params = info.get("params")
    names = params.get("label_names") if isinstance(params, dict) else None
    return listed_names([{"name": n, "id": v} for n, v in names.items()] if isinstance(names, dict) else [])
