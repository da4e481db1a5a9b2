"""Structures that are like one that is begun: by their names, and as they are in the label."""

import numpy as np
import pytest

from slmsam2.engine.kin import exemplars_of_kin
from slmsam2.prompts import Kin, kin_of, says_what
from slmsam2.volume import SliceView, exemplar_of

pytestmark = pytest.mark.unit

AFFINES = {
    "RAS": np.diag([1.0, 2.0, 3.0, 1.0]),
    "LPS": np.diag([-1.0, -2.0, 3.0, 1.0]),
    "SRA": np.array([[0, -2.0, 0, 0], [0, 0, 1.0, 0], [3.0, 0, 0, 0], [0, 0, 0, 1]]),
}
NAMES = {"kidney_left": 1, "kidney_right": 2, "liver": 4}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("kidney_left", "kidney_right"),
        ("Left kidney", "kidney right"),
        ("L-thalamus", "R-thalamus"),
        ("Putamen_L", "Putamen_R"),
        ("lh.hippocampus", "rh.hippocampus"),
        ("LeftKidney", "RightKidney"),
        ("kidneyL", "kidneyR"),
        ("rib_left_7", "rib_right_7"),
        ("Niere links", "Niere rechts"),
        ("rein gauche", "rein droit"),
    ],
)
def test_pairs(left, right):
    assert kin_of(left, [right, "liver", "left", "right_lung"]) == [Kin(right, mirrored=True)]
    assert kin_of(right, [left]) == [Kin(left, mirrored=True)]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("肿瘤 GTV", "淋巴结 GTV"),
        ("почка T", "печень T"),
        ("Höcker", "Hücker"),
        ("肿瘤", "肝"),
        ("νεφρός", "ήπαρ"),
    ],
)
def test_letters_of_all_scripts_count(name, other):
    assert kin_of(name, [other]) == []
    assert kin_of(f"{name} left", [f"{other} right", f"{name} right"]) == [
        Kin(f"{name} right", mirrored=True)
    ]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("H\u00f6cker", "Ho\u0308cker"),  # composed, and as macOS has it
        ("ПОЧКА", "почка"),
        ("Rein É1", "rein é2"),
        ("肿瘤１", "肿瘤 2"),
        ("ПочкаЛ", "почка л"),
    ],
)
def test_one_name_in_several_spellings_of_any_script(name, other):
    assert [kin.name for kin in kin_of(name, [other])] == [other]


def test_series_and_the_nearest_in_them_first():
    spine = ["C7", "T1", "T11", "T12", "L1", "L3", "L4", "L5", "S1"]
    assert [kin.name for kin in kin_of("L2", spine)] == ["L1", "L3", "T12", "L4", "T11", "L5"]
    assert not any(kin.mirrored for kin in kin_of("L2", spine))
    ribs = ["rib_left_7", "rib_right_7", "rib_right_8", "rib_left_10", "vertebrae_T7"]
    assert kin_of("rib_left_8", ribs) == [
        Kin("rib_right_8", mirrored=True),
        Kin("rib_left_7", mirrored=False),
        Kin("rib_left_10", mirrored=False),
    ]
    assert [kin.name for kin in kin_of("disc L4-L5", ["disc L3-L4", "disc L5-S1", "L4"])] == [
        "disc L3-L4",
        "disc L5-S1",
    ]


def test_one_that_is_spelt_otherwise():
    assert kin_of("left kidney", ["Kidney_L"]) == [Kin("Kidney_L", mirrored=False)]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Segment_1", "Segment_2"),  # as viewers call them
        ("structure_1", "structure_2"),
        ("1", "2"),
        ("left", "right"),
        ("左肾", "右肾"),
        ("", "liver"),
        ("3rd-ventricle", "4th-ventricle"),
        ("kidney", "kidney_left"),  # which of them?
        ("lung_upper_lobe_left", "lung_lower_lobe_left"),
        ("rib_left_7", "rib_right_8"),
        ("left and right kidney", "left kidney"),
        ("vertebra " + "1" * 5000, "vertebra 2"),
    ],
)
def test_others_are_not_alike(name, other):
    assert kin_of(name, [other]) == []


@pytest.mark.parametrize(
    ("name", "telling"),
    [
        ("Structure 1", False),
        ("structure_1", False),
        ("Segment_12", False),
        ("ROI 2 left", False),
        ("7", False),
        ("structure of interest", True),
        ("L1", True),
        ("肝", True),
    ],
)
def test_which_names_say_what_a_structure_is(name, telling):
    assert says_what(name) is telling


def ellipsoid(shape, centre, radii):
    grid = np.indices(shape)
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1


def kidneys(left_slices=range(16)):
    """Two, without any symmetry but that of left and right; x ascends to the right. The left one on some slices."""
    shape = (30, 16, 16)
    right = ellipsoid(shape, (22, 7, 7), (4, 4, 5)) | ellipsoid(shape, (25, 9, 9), (3, 4, 2))
    label = np.where(right, 2, 0).astype(np.int32)
    for k in left_slices:
        label[..., k] += right[::-1, :, k]
    return label


def in_view(label, affine, axis):
    """The label (x, y, z) stored as an affine says, and its view along a stored axis."""
    directions = np.abs(affine[:3, :3]).argmax(axis=0)
    signs = np.sign(affine[:3, :3].sum(axis=0))
    stored = label.transpose(directions)
    stored = stored[tuple(slice(None, None, int(sign)) for sign in signs)]
    view = SliceView(stored.shape, affine, axis)
    return np.ascontiguousarray(view.to_stack(stored)), view


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_other_side_is_mirrored(affine, axis):
    whole, view = in_view(kidneys(), affine, axis)
    begun, _ = in_view(kidneys(left_slices=[6]), affine, axis)
    (kin,) = exemplars_of_kin(begun, view, NAMES, ["kidney_left"])["kidney_left"]
    itself = exemplar_of(whole == 1, np.ones(len(whole), bool), view)
    assert kin.kin == "twin"
    assert itself.kin is None
    assert np.array_equal(kin.cells, itself.cells)
    assert kin.size == itself.size
    assert not np.array_equal(kin.cells[::-1], itself.cells)  # or nothing would be tested


def test_values_may_be_as_large_as_labels_allow():
    largest = 2**31 - 1
    label = kidneys(left_slices=[6])
    view = SliceView(label.shape, np.eye(4), 2)
    (small,) = exemplars_of_kin(view.to_stack(label), view, NAMES, ["kidney_left"])["kidney_left"]
    label[label == 2] = largest
    names = NAMES | {"kidney_right": largest}
    (large,) = exemplars_of_kin(view.to_stack(label), view, names, ["kidney_left"])["kidney_left"]
    assert np.array_equal(large.cells, small.cells)


def test_what_is_only_begun_tells_nothing():
    view = SliceView((30, 16, 16), np.eye(4), 2)
    label = kidneys(left_slices=[6])
    assert exemplars_of_kin(view.to_stack(label), view, NAMES, ["kidney_right", "liver"]) == {}
    for some in ([5, 6, 7], [4, 5, 6, 8, 9], [5, 6, 7, 8], [3, 4, 5, 6, 7]):
        label = kidneys(left_slices=some)
        assert exemplars_of_kin(view.to_stack(label), view, NAMES, ["kidney_right"]) == {}


def test_where_the_image_ends_both_of_a_pair_do_but_not_all_of_a_series():
    label = kidneys()[:, :, 5:]
    view = SliceView(label.shape, np.eye(4), 2)
    stack = view.to_stack(label)
    assert len(exemplars_of_kin(stack, view, NAMES, ["kidney_left"])["kidney_left"]) == 1
    series = {"rib_1": 1, "rib_2": 2}
    assert exemplars_of_kin(stack, view, series, ["rib_1"]) == {}
    whole = kidneys()
    (kin,) = exemplars_of_kin(view.to_stack(whole), view, series, ["rib_1"])["rib_1"]
    assert kin.kin == "neighbour"


def test_names_of_nothing_painted():
    view = SliceView((30, 16, 16), np.eye(4), 2)
    names = NAMES | {"Kidney right": 300}
    assert exemplars_of_kin(np.zeros((16, 16, 30), np.int32), view, names, ["kidney_left"]) == {}
