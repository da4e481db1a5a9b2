"""Drawing a slice by clicks."""

import numpy as np
import pytest
from annotator import largest_slice, paint_largest_slice, propagate, slices_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_clicks_draw_the_slice(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    spleen = organs["spleen"]
    k = largest_slice(spleen)
    viewer.show_slice(k, spleen.shape[2])
    viewer.press("points")
    i, j = (int(np.median(each)) for each in np.nonzero(spleen[:, :, k]))
    viewer.click((i, j, k))
    viewer.wait_until_drawn()
    drawn = viewer.label()
    assert slices_of(drawn) == [k]
    assert drawn[i, j, k] > 0
    found, _ = propagate(viewer)
    assert k in slices_of(found)
    assert np.array_equal(found[:, :, k], drawn[:, :, k])


def test_points_correct_a_painted_slice_and_undo_brings_it_back(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    k, painted = paint_largest_slice(viewer, organs["spleen"], 10)
    pixels = np.argwhere(painted[:, :, k])
    i, j = map(int, pixels[len(pixels) // 2])
    viewer.press("points")
    viewer.page.keyboard.down("Shift")
    viewer.click((i, j, k))
    viewer.page.keyboard.up("Shift")
    viewer.wait_until_drawn(other_than=painted)
    corrected = viewer.label()
    assert corrected[i, j, k] == 0
    assert slices_of(corrected) == [k]
    params, label = viewer.sent()[-1]
    assert params["prompt_slices"] == [k]
    assert np.array_equal(label.reshape(painted.shape, order="F"), painted)
    viewer.press("undo")
    viewer.wait_for_message("taken back")
    assert np.array_equal(viewer.label(), painted)
