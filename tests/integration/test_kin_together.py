"""Structures that are alike in one request, on the bundled CT: they tell of each other, what is known better of what is
not."""

import json
from pathlib import Path

import numpy as np
import pytest

from slmsam2.engine import propagate_volume
from slmsam2.engine.volume import load_model
from slmsam2.masks import largest_slice, occupied_slices
from slmsam2.metrics import dice
from slmsam2.volume import default_axis, read_label, read_volume

pytestmark = pytest.mark.integration

CT = Path(__file__).resolve().parents[2] / "data" / "ts_ct_abdomen_3mm"
WINDOW = "200/1000"  # else chosen from all that is painted
PAIR = ("femur_left", "femur_right")


@pytest.fixture(scope="module")
def case():
    image, label = read_volume(CT / "image.nii.gz"), read_label(CT / "label.nii.gz")
    values = json.loads((CT / "labels.json").read_text())
    return image, {name: label.array == values[name] for name in PAIR}, default_axis(image)


@pytest.fixture(scope="module")
def propagate(case):
    """Name -> mask, of structures given on slices, under these names."""
    image, references, axis = case
    network = load_model("slm_sam2_nano")

    def run(given, names=PAIR):
        painted = np.zeros(image.shape, np.uint8)
        for value, name in enumerate(PAIR, start=1):
            for index in given.get(name, ()):
                at = (slice(None),) * axis + (index,)
                painted[at][references[name][at]] = value
        values = dict(zip(names, (1, 2), strict=True))
        label, report = propagate_volume(
            image, painted, model=network, axis=axis, label_names=values, window=WINDOW
        )
        return {name: label == value for value, name in enumerate(PAIR, start=1)}, report["shapes"]

    return run


@pytest.fixture(scope="module")
def largest(case):
    _, references, axis = case
    return {name: [largest_slice(mask, axis)] for name, mask in references.items()}


@pytest.fixture(scope="module")
def alone(propagate, largest):
    return {name: propagate({name: largest[name]})[0][name] for name in PAIR}


def test_both_gain(case, propagate, largest, alone):
    found, told = propagate(largest)
    assert told == list(PAIR)
    for name, mask in found.items():
        assert dice(mask, case[1][name]) > dice(alone[name], case[1][name]) + 0.01


def test_only_by_their_names(propagate, largest, alone):
    found, told = propagate(largest, names=("Segment_1", "Segment_2"))
    assert told == []
    for name, mask in found.items():
        assert dice(mask, alone[name]) > 0.99


def test_what_is_given_on_more_slices_stays_as_it_is(case, propagate, largest):
    left, right = PAIR
    present = occupied_slices(case[1][left], case[2])
    more = [int(present[len(present) // 5]), *largest[left], int(present[len(present) // 2])]
    single, _ = propagate({left: more})
    found, told = propagate({left: more, right: largest[right]})
    assert told == [right]
    assert dice(found[left], single[left]) > 0.99
