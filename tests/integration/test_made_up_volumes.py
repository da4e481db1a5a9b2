"""Volumes, labels and wishes made up by hypothesis: each gives a volume with what was painted in it, or a sentence."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from made_up import made_up
from sentences import check_sentence
from slmsam2 import propagate_volume
from slmsam2.errors import SlmSam2Error
from slmsam2.volume import Volume

pytestmark = pytest.mark.integration

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
IMAGE_TYPES = (np.int16, np.uint8, np.float32, np.float64, np.int64, np.bool_)
LABEL_TYPES = (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.bool_)
UNUSABLE_TYPES = (np.complex64, "U3", "datetime64[s]", object)


@st.composite
def images(draw, shape):
    """(I, J, K) of any real type: noise, flat, with values that are not finite, or absurdly large ones."""
    dtype = np.dtype(draw(st.sampled_from(IMAGE_TYPES)))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 100, shape).astype(dtype)
    kind = draw(st.sampled_from(["noise", "noise", "noise", "flat", "nan", "inf", "large", "any"]))
    if kind == "flat":
        noise[...] = 1
    elif kind == "any":
        noise = draw(arrays.arrays(dtype, shape, fill=st.just(0)))
    elif dtype.kind == "f" and kind != "noise":
        noise.flat[:: draw(st.integers(1, 3))] = {
            "nan": np.nan,
            "inf": -np.inf,
            "large": np.finfo(dtype).max,
        }[kind]
    return noise


@st.composite
def labels(draw, shape):
    """Painted slices of one to three structures, or any values at all."""
    dtype = np.dtype(draw(st.sampled_from(LABEL_TYPES)))
    kind = draw(st.sampled_from(["slices", "slices", "slices", "voxel", "full", "empty", "any", "unusable"]))
    label = np.zeros(shape, dtype)
    if kind == "full":
        label[...] = 1
    elif kind == "voxel":
        label[tuple(draw(st.integers(0, size - 1)) for size in shape)] = 1
    elif kind == "any":
        label = draw(arrays.arrays(dtype, shape, fill=st.just(0)))
    elif kind == "unusable":
        label = np.zeros(shape, draw(st.sampled_from(UNUSABLE_TYPES)))
    elif kind == "slices":
        axis = draw(st.integers(0, 2))
        for value in range(1, draw(st.integers(1, 3)) + 1):
            at = draw(st.integers(0, shape[axis] - 1))
            part = np.moveaxis(label, axis, 0)[at]
            part[draw(st.integers(0, part.shape[0] - 1)) :, : draw(st.integers(1, part.shape[1]))] = value
    return label


@st.composite
def affines(draw):
    """(4, 4): flips, turns, oblique and sheared axes, and headers that are broken."""
    spacing = draw(st.lists(st.sampled_from([1.0, 0.5, 5.0, -1.0, 1e-6, 1e6]), min_size=3, max_size=3))
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing)[list(draw(st.permutations([0, 1, 2])))]
    angle = draw(st.sampled_from([0.0, 0.0, 0.1, np.pi / 4, 1.0]))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    broken = draw(st.sampled_from([None, None, None, 0.0, np.nan, np.inf, 1e300]))
    if broken is not None:
        affine[draw(st.integers(0, 3)), draw(st.integers(0, 3))] = broken
    return affine


anything = st.none() | st.booleans() | st.integers() | st.integers(-2, 9) | st.floats() | st.text(max_size=3)
numbers = st.integers(-2, 9) | anything
WISHES = {
    "axis": numbers,
    "structures": st.lists(st.sampled_from(["a", "structure_1", 1, 2, 9]), max_size=3) | st.lists(anything, max_size=2),
    "label_names": st.dictionaries(st.sampled_from("abc"), st.integers(-1, 4) | anything, max_size=3),
    "prompt_slices": st.lists(numbers, max_size=4)
    | st.dictionaries(st.integers(0, 3), st.lists(numbers, max_size=2), max_size=3),
    "window": st.sampled_from(["40/400", "0/0", "nan/1", "1e308/1e308"]) | st.lists(anything, max_size=3),
    "preset": st.sampled_from(["abdomen", "lung", "none"]),
    "direction": st.sampled_from(["both", "forward", "backward", "up", None]),
    "first_slice": numbers,
    "last_slice": numbers,
    "stop_after": numbers,
    "order": st.sampled_from(["independent", "published", "other"]),
    "regions": st.dictionaries(st.just("structure_1"), st.lists(numbers, min_size=3, max_size=5)),
}  # fmt: skip
wishes = st.lists(st.sampled_from(sorted(WISHES)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: WISHES[name] for name in names})
)


@made_up(60)
@given(data=st.data(), shape=shapes, affine=affines(), wished=wishes)
def test_a_volume_or_a_sentence(network, data, shape, affine, wished):
    image, label = data.draw(images(shape)), data.draw(labels(shape))
    try:
        volume = Volume(image, affine)
        array, report = propagate_volume(volume, label, model=network, **wished)
    except SlmSam2Error as error:
        check_sentence(error)
        event(f"refused: {type(error).__name__}")
        return
    event("result")
    assert array.shape == shape
    assert set(np.unique(array)) <= set(np.unique(label)) | {0}
    axis, stacks = report["axis"], (np.moveaxis(each, report["axis"], 0) for each in (array, label))
    result, given_ = stacks
    for facts in report["structures"].values():
        assert facts["painted"]
        for index in facts["painted"]:
            assert 0 <= index < shape[axis]
            value = facts["value"]
            assert np.array_equal(result[index] == value, given_[index] == value), (index, value)


@made_up(60)
@given(shape=shapes, data=st.data(), affine=affines(), other=affines())
def test_labels_on_another_grid(network, shape, data, affine, other):
    """As read from a file: the label has a geometry of its own."""
    try:
        volume = Volume(data.draw(images(shape)), affine)
        label = Volume(data.draw(labels(data.draw(shapes))), other)
        array, _ = propagate_volume(volume, label, model=network)
    except SlmSam2Error as error:
        check_sentence(error)
    else:
        assert array.shape == shape
