"""Lists, volumes and prompt slices of the paper's layout: what is read, and what is refused with which words."""

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from paper_data import SHAPE, make_volume, write_layout
from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.paper.layout import entries, names_in, read_list
from slmsam2.paper.pictures import as_words, shown_as_bytes
from slmsam2.paper.prediction import largest_slice_prompts, object_dice, prompts_of, read_prompt_slices
from slmsam2.paper.volumes import read_stack
from slmsam2.volume import Window

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path):
    return write_layout(tmp_path, ["a", "b"])


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb", "a\r\nb\r\n", "\n a \n\n\nb  ", "\ufeffa\nb\n"])
def test_lists_in_every_spelling(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert read_list(path) == ["a", "b"]


@pytest.mark.parametrize(("text", "words"), [("\n \r\n", "is empty"), ("a\nb\na", "names a more than once")])
def test_lists_that_are_refused(tmp_path, text, words):
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_list(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_list(tmp_path / "none.txt")


def test_all_that_is_missing_is_named(layout):
    assert names_in(layout / "images") == ["a", "b"]
    (layout / "images" / "c").mkdir()
    with pytest.raises(ConfigurationError, match=r"no images of x, y in .*no masks of c, x, y in"):
        entries(["a", "c", "x", "y"], layout / "images", layout / "masks")
    with pytest.raises(ConfigurationError, match="no folder"):
        entries(["a"], layout / "pictures", layout / "masks")


def test_a_volume_of_pictures(layout):
    (entry,) = entries(["a"], layout / "images", layout / "masks")
    stack = read_stack(entry)
    images, labels = make_volume(0)
    np.testing.assert_array_equal(stack.labels, labels)
    assert stack.image.shape == SHAPE
    assert np.abs(stack.image.astype(int) - images).mean() < 10  # JPEG
    assert (stack.window.low, stack.window.high) == (0, 255)
    assert stack.ids == [1, 2]
    assert stack.masked.all()


def test_masks_are_matched_by_name_and_may_be_few(layout):
    for s in set(range(SHAPE[0])) - {4, 5}:
        (layout / "masks" / "a" / f"{s:05d}.png").unlink()
    (entry,) = entries(["a"], layout / "images", layout / "masks")
    stack = read_stack(entry)
    assert np.flatnonzero(stack.masked).tolist() == [4, 5]
    np.testing.assert_array_equal(stack.labels[[4, 5]], make_volume(0)[1][[4, 5]])
    (layout / "masks" / "a" / "00004.png").rename(layout / "masks" / "a" / "slice4.png")
    with pytest.raises(VolumeError, match="10 images and 2 masks of other names"):
        read_stack(entry)


def test_palette_masks_are_object_ids(layout):
    path = layout / "masks" / "a" / "00004.png"
    picture = Image.open(path)
    picture.putpalette(bytes(range(255, -1, -1)) * 3)
    picture.save(path)
    (entry,) = entries(["a"], layout / "images", layout / "masks")
    np.testing.assert_array_equal(read_stack(entry).labels, make_volume(0)[1])


def test_masks_of_another_size(layout):
    for path in (layout / "masks" / "a").iterdir():
        Image.new("L", (8, 8)).save(path)
    (entry,) = entries(["a"], layout / "images", layout / "masks")
    with pytest.raises(VolumeError, match="8 x 8 pixels, its images 72 x 64"):
        read_stack(entry)


def test_prompt_slices(layout, tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"a": 4, "b": {"1": 3, "2": [4, 5]}}))
    wanted = read_prompt_slices(path)
    first, second = (read_stack(one) for one in entries(["a", "b"], layout / "images", layout / "masks"))
    prompts = prompts_of(first, wanted["a"])
    assert {one: list(masks) for one, masks in prompts.items()} == {1: [4], 2: [4]}
    np.testing.assert_array_equal(prompts[2][4], first.labels[4] == 2)
    assert {one: list(m) for one, m in prompts_of(second, wanted["b"]).items()} == {1: [3], 2: [4, 5]}
    areas = (first.labels == 1).sum(axis=(1, 2))
    assert largest_slice_prompts(first)[1] == [int(areas.argmax())]


def test_slices_of_files_are_numbered_as_stored(tmp_path):
    """A file whose slices run downwards: the stack is turned round, the numbers are not."""
    images, labels = make_volume(0)
    grid = np.diag([-1.0, -1.0, -3.0, 1.0])
    for kind, stack in (("images", images), ("masks", labels)):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(stack.transpose(2, 1, 0), grid), tmp_path / kind / "a.nii.gz")
    stack = read_stack(*entries(["a"], tmp_path / "images", tmp_path / "masks"))
    np.testing.assert_array_equal(stack.labels, labels[::-1])
    prompts = prompts_of(stack, {1: [3]})
    assert list(prompts[1]) == [6]
    np.testing.assert_array_equal(prompts[1][6], labels[3] == 1)
    assert prompts_of(stack, largest_slice_prompts(stack))[1].keys() == {
        int((stack.labels == 1).sum(axis=(1, 2)).argmax())
    }


@pytest.mark.parametrize("text", ["", "[1]", '{"a": "x"}', '{"a": true}', '{"a": []}', '{"a": {"x": 1}}'])
def test_prompt_slices_that_are_refused(tmp_path, text):
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="JSON such as"):
        read_prompt_slices(path)


def test_dice_leaves_out_what_was_given(layout):
    (entry,) = entries(["a"], layout / "images", layout / "masks")
    stack = read_stack(entry)
    prompts = prompts_of(stack, {None: [4]})
    found = np.zeros_like(stack.labels)
    found[4] = stack.labels[4]
    assert object_dice(found, stack, prompts) == {1: 0.0, 2: 0.0}
    assert object_dice(stack.labels, stack, prompts) == {1: 1.0, 2: 1.0}
    alone = prompts_of(stack, {1: list(range(1, 9))})
    assert object_dice(found, stack, alone) is None  # every drawn slice prompts


def test_pixels_of_a_window_and_of_whole_numbers():
    stack = np.array([[[-200.0, -160.0, 40.0, 240.0, np.nan]]])
    assert shown_as_bytes(stack, Window(40, 400)).tolist() == [[[0, 0, 128, 255, 0]]]
    words, offset, scale = as_words(np.array([[[-1024, 0, 3071]]], np.int16))
    assert (words.dtype, offset, scale) == (np.uint16, -1024, 1)
    words, offset, scale = as_words(np.array([[[0.0, 0.25, 1.0]]]))
    np.testing.assert_allclose(words * scale + offset, [[[0.0, 0.25, 1.0]]], atol=1 / 65535)
