"""Painted structures and their prompts."""

from __future__ import annotations

import numpy as np
import pytest

from slmsam2.errors import PromptError
from slmsam2.prompts import painted_structures, prompts_from_label

pytestmark = pytest.mark.unit

NAMES = {"liver": 1, "spleen": 2, "kidney": 9, "bladder": 4}


@pytest.fixture
def label() -> np.ndarray:
    """(6, 7, 8), values 9 on slice k = 1, 2 on k = 5 and 1 and 5 on k = 3."""
    label = np.zeros((6, 7, 8), np.int32)
    label[1:3, 1:3, 1] = 9
    label[2:5, 2:6, 5] = 2
    label[0:2, 0:2, 3] = 1
    label[4:6, 4:6, 3] = 5
    label[0, 0, 5] = 1
    return label


def test_all_painted_structures_by_ascending_value(label: np.ndarray) -> None:
    found = painted_structures(label, names=NAMES, selected=None)
    assert list(found.items()) == [("liver", 1), ("spleen", 2), ("structure_5", 5), ("kidney", 9)]
    assert list(painted_structures(label, names=None, selected=[])) == [
        f"structure_{v}" for v in (1, 2, 5, 9)
    ]


def test_names_made_up_are_not_those_of_others(label: np.ndarray) -> None:
    names = {"structure_5": 1, "spleen": 2, "kidney": 9}
    found = painted_structures(label, names=names)
    assert found == {"structure_5": 1, "spleen": 2, "structure_5_": 5, "kidney": 9}


def test_selection_by_name_or_value(label: np.ndarray) -> None:
    wanted = painted_structures(label, names=NAMES, selected=["kidney", "structure_5", 2, np.int64(1)])
    assert wanted == {"liver": 1, "spleen": 2, "structure_5": 5, "kidney": 9}
    assert painted_structures(label, names=NAMES, selected=["spleen"]) == {"spleen": 2}


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        (["spleen", "heart"], "no structure 'heart'"),
        ([7], "no structure '7'"),
        (["bladder"], "Not painted: 'bladder'"),
    ],
)
def test_selection_that_is_not_there(label: np.ndarray, selected: list, message: str) -> None:
    with pytest.raises(PromptError, match=f"{message}.*liver, spleen, structure_5, kidney"):
        painted_structures(label, names=NAMES, selected=selected)


def test_labels_that_cannot_be_used(label: np.ndarray) -> None:
    with pytest.raises(PromptError, match="Nothing is painted"):
        painted_structures(np.zeros((3, 3, 3), int), names=NAMES, selected=None)
    with pytest.raises(PromptError, match="negative"):
        painted_structures(-label, names=None, selected=None)
    with pytest.raises(PromptError, match="'liver' and 'lever' both have the value 1"):
        painted_structures(label, names={"liver": 1, "lever": 1}, selected=None)


def test_at_most_254_structures() -> None:
    many = np.arange(256).reshape(4, 8, 8)
    assert len(painted_structures(many % 255, names=None, selected=None)) == 254
    with pytest.raises(PromptError, match="255 structures are painted; at most 254"):
        painted_structures(many, names=None, selected=None)
    assert painted_structures(many, names=None, selected=[255]) == {"structure_255": 255}


def test_prompts_per_value_and_slice(label: np.ndarray) -> None:
    stack = label.transpose(2, 0, 1)
    prompts = prompts_from_label(stack, [1, 2, 9])
    assert {value: list(slices) for value, slices in prompts.items()} == {1: [3, 5], 2: [5], 9: [1]}
    assert prompts[2][5].dtype == bool
    np.testing.assert_array_equal(prompts[2][5], label[:, :, 5] == 2)
    assert prompts[1][5].sum() == 1


def test_prompt_slices_restrict(label: np.ndarray) -> None:
    stack = label.transpose(2, 0, 1)
    prompts = prompts_from_label(stack, [1, 2, 9], prompt_slices=[5, 0, 5])
    assert {value: list(slices) for value, slices in prompts.items()} == {1: [0, 5], 2: [0, 5]}
    assert not prompts[1][0].any()  # chosen, and nothing is painted there: "not here"
    some = prompts_from_label(stack, [1, 2, 9], prompt_slices=[3, 5])
    assert {value: list(slices) for value, slices in some.items()} == {1: [3, 5], 2: [5]}
    with pytest.raises(PromptError, match="No structure is painted on the chosen slices"):
        prompts_from_label(stack, [1, 2, 9], prompt_slices=[0, 2])
    for outside in (-1, 8):
        with pytest.raises(PromptError, match="slices are 0 to 7"):
            prompts_from_label(stack, [1], prompt_slices=[outside])
