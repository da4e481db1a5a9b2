"""Contact sheets: which slices are shown, and that the picture holds what it should."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from slmsam2.errors import ConfigurationError
from slmsam2.figures import COLOURS, SheetRow, choose_slices, contact_sheet
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit


def ball(shape=(40, 36, 20), centre=(20, 18, 10), radius=7) -> np.ndarray:
    distance = sum((x - c) ** 2 for x, c in zip(np.indices(shape), centre, strict=True))
    return distance <= radius**2


def volume() -> Volume:
    array = np.where(ball(), 100, -50).astype(np.int16)
    return Volume(array=array, affine=np.diag([2.0, 2.0, 3.0, 1.0]), modality="CT", path=None)


def pixels_of(picture: np.ndarray, kind: str) -> int:
    return int((np.abs(picture[..., :3] - to_rgb(COLOURS[kind])).max(axis=-1) < 0.02).sum())


def test_slices_reach_past_both_ends():
    present = np.zeros(50, dtype=bool)
    present[10:31] = True
    assert choose_slices(present, [20], 3) == [9, 20, 31]
    assert choose_slices(present, [12], 4) == [9, 12, 24, 31]


def test_slices_of_a_small_or_absent_structure():
    present = np.zeros(5, dtype=bool)
    present[0] = True
    assert choose_slices(present, [0], 9) == [0, 1]
    assert choose_slices(np.zeros(5, dtype=bool), [3], 9) == [2, 3, 4]
    assert choose_slices(np.ones(30, dtype=bool), [3, 4, 5], 3) == [3, 4, 5]


def test_of_more_painted_slices_than_fit_some_from_first_to_last_are_shown():
    present = np.zeros(50, dtype=bool)
    present[11:42] = True
    assert choose_slices(present, list(range(11, 42)), 4) == [11, 21, 31, 41]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_picture_shows_painted_result_and_reference(tmp_path, axis):
    path = tmp_path / "figures" / "sheet.png"
    row = SheetRow("ball", result=ball(radius=6), painted=[10], reference=ball())
    contact_sheet(path, volume(), [row, row], axis=axis, window=(-100, 150), columns=4)

    picture = matplotlib.image.imread(path)
    assert picture.shape[1] == pytest.approx(120 * 1.7 * 4, abs=2)
    assert picture.shape[0] == pytest.approx(120 * (1.75 * 2 + 0.5), abs=2)
    for kind in COLOURS:
        assert pixels_of(picture, kind) > 200, kind
    assert [found.name for found in path.parent.iterdir()] == ["sheet.png"]


def test_no_reference_no_reference_colour(tmp_path):
    path = tmp_path / "sheet.png"
    contact_sheet(path, volume(), [SheetRow("ball", ball(), [10])], axis=2, window=(-100, 150), columns=3)
    picture = matplotlib.image.imread(path)
    assert pixels_of(picture, "reference") == 0
    assert pixels_of(picture, "result") > 100


def test_empty_result_is_still_a_picture(tmp_path):
    path = tmp_path / "sheet.png"
    nothing = np.zeros((40, 36, 20), dtype=np.uint8)
    contact_sheet(path, volume(), [SheetRow("none", nothing, [10])], axis=2, window=(-100, 150))
    assert pixels_of(matplotlib.image.imread(path), "painted") > 200


def test_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\.png"):
        contact_sheet(tmp_path / "sheet.doc", volume(), [SheetRow("b", ball(), [10])], axis=2, window=(0, 1))
    assert list(tmp_path.iterdir()) == []
