"""Painted slices: which structures they show, and on which slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slmsam2.errors import PromptError
from slmsam2.prompts.names import all_named
from slmsam2.values import present_values

# Values 1 to 254 and background fit an 8-bit labelmap with one value to spare.
MOST_STRUCTURES = 254


def painted_structures(
    label: np.ndarray, *, names: dict[str, int] | None = None, selected: Sequence[str | int] | None = None
) -> dict[str, int]:
    """The structures that are painted and wanted.

    Args:
        label: (I, J, K) integers, 0 is background.
        names: structure name -> value; the others are named by :func:`all_named`.
        selected: the names (or values) wanted; None or empty for all that are painted.

    Returns:
        structure name -> value, by ascending value.

    Raises:
        PromptError: nothing is painted, a wanted structure is unknown or not painted, two names share a
            value, or more than 254 structures are wanted. The message lists what is there.
    """
    values = present_values(label)
    if not values:
        raise PromptError("Nothing is painted in the label. Paint the structure on at least one slice.")
    if values[0] < 0:
        raise PromptError("The label has negative values. Use 0 for background and 1, 2, ... for structures.")
    known = _names_by_value(names or {})
    painted = all_named(values, known)
    wanted = painted if not selected else _chosen(painted, known, selected)
    if len(wanted) > MOST_STRUCTURES:
        raise PromptError(
            f"{len(wanted)} structures are painted; at most {MOST_STRUCTURES} can be propagated at once. "
            "Select some of them, and the others afterwards."
        )
    return wanted


def _names_by_value(names: dict[str, int]) -> dict[int, str]:
    known: dict[int, str] = {}
    for name, value in names.items():
        if value in known:
            raise PromptError(f"'{known[value]}' and '{name}' both have the value {value}: rename one.")
        known[value] = name
    return known


def _chosen(painted: dict[str, int], known: dict[int, str], selected: Sequence[str | int]) -> dict[str, int]:
    """The selected ones among the painted, by ascending value."""
    by_value = {value: name for name, value in painted.items()}
    if not all(isinstance(item, (str, int, np.integer)) for item in selected):
        raise PromptError(f"Structures are selected by names or whole numbers, not by {list(selected)!r}.")
    wanted = {item if isinstance(item, str) else by_value.get(int(item), str(item)) for item in selected}
    missing = sorted(wanted - painted.keys())
    if missing:
        unknown = [name for name in missing if name not in known.values()]
        reason = (
            f"There is no structure {_listed(unknown)}" if unknown else f"Not painted: {_listed(missing)}"
        )
        raise PromptError(
            f"{reason}. Painted are: {', '.join(painted)}. Select among these, or paint it first."
        )
    return {name: value for name, value in painted.items() if name in wanted}


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def prompts_from_label(
    stack: np.ndarray, values: Sequence[int], *, prompt_slices: Sequence[int] | None = None
) -> dict[int, dict[int, np.ndarray]]:
    """The painted slices of each structure.

    Args:
        stack: (S, H, W) integers, the label in slice order.
        values: the structures' values.
        prompt_slices: stack indices of the slices to take; None for all that are painted. On a slice taken where none
            of the structures is painted, none of them is: their masks there are empty.

    Returns:
        value -> {stack index: bool (H, W)}, by ascending index. Values painted on none of the
        slices are left out.

    Raises:
        PromptError: a slice lies outside the stack, or nothing is painted on the slices taken.
    """
    taken = range(len(stack)) if prompt_slices is None else sorted(set(prompt_slices))
    if any(not 0 <= index < len(stack) for index in taken):
        raise PromptError(f"A chosen slice lies outside the volume. Its slices are 0 to {len(stack) - 1}.")
    present = {index: set(present_values(stack[index])).intersection(values) for index in taken}
    prompts: dict[int, dict[int, np.ndarray]] = {}
    for value in sorted(set().union(*present.values())):
        said = [s for s in taken if value in present[s] or (prompt_slices is not None and not present[s])]
        prompts[value] = {index: stack[index] == value for index in said}
    if not prompts:
        raise PromptError("No structure is painted on the chosen slices. Choose slices that are painted.")
    return {value: prompts[value] for value in values if value in prompts}
