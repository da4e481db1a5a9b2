"""Three planes at once: painting in another plane than the one the images were taken in."""

import re

import numpy as np
import pytest
from annotator import RADIUS, dice, largest_slice, paint_largest_slice, propagate, slices_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def check_suggested(viewer, found):
    """The suggested slice of another plane is shown in that plane's viewport, and goes through what was found."""
    viewer.press("next")
    viewer.wait_for_message("Or correct it on the")
    plane, index = re.search(r"the (sagittal|coronal) slice (\d+)", viewer.message()).groups()
    axis = {"sagittal": 0, "coronal": 1}[plane]
    assert viewer.centre(f"mpr-{plane}")[axis] == pytest.approx(int(index), abs=0.51)
    assert np.take(found, int(index), axis).any()


def test_corrected_in_another_plane(open_viewer, ct, organs):
    """What is missing of the spleen on a coronal slice is painted there; the axial one counts as before."""
    viewer = open_viewer(ct)
    viewer.choose_mpr()
    spleen = organs["spleen"]
    k, _ = paint_largest_slice(viewer, spleen, 10)
    found, _ = propagate(viewer)
    check_suggested(viewer, found)
    missing = np.count_nonzero(spleen & (found == 0), axis=(0, 2))
    j = int(missing.argmax())
    viewer.centre_on("mpr-coronal", (int(spleen[:, j].any(axis=1).nonzero()[0].mean()), j, k))
    viewer.paint(spleen[:, j] & (found[:, j] == 0), 1, j, 1, viewport="mpr-coronal")
    corrected = viewer.label()
    assert slices_of(corrected != found, axis=1) == [j]
    again, _ = propagate(viewer)
    params, label = viewer.sent()[-1]
    assert params["axis"] == "2"
    assert params["prompt_slices"] == {"Structure 1": {"1": [j], "2": [k]}}
    sent = label.reshape(found.shape, order="F")
    assert slices_of(np.delete(sent, k, axis=2), axis=1) == [j]
    assert np.array_equal(again[:, j], corrected[:, j])
    assert np.array_equal(again[:, :, k], corrected[:, :, k])
    assert dice(again > 0, spleen) > dice(corrected > 0, spleen) - 0.01
    assert viewer.page.locator("[data-role=strip]").is_visible()
    viewer.press("undo")
    viewer.wait_for_message("taken back")
    assert np.array_equal(viewer.label(), corrected)


def test_painted_in_another_plane(open_viewer, ct, organs, pictures):
    viewer = open_viewer(ct)
    viewer.choose_mpr()
    _, painted = paint_largest_slice(viewer, organs["spleen"], 10)

    # another structure, painted in the coronal plane, goes from front to back
    viewer.page.click(".slmsam2 >> text=+ Add")
    viewer.page.select_option(".slmsam2 [title='What to propagate']", "active")
    liver = organs["liver"] & (painted == 0)
    j = largest_slice(liver, axis=1)
    viewer.centre_on("mpr-coronal", (60, j, 100))
    viewer.paint(liver[:, j, :], 1, j, RADIUS, viewport="mpr-coronal")
    drawn = viewer.label()
    assert slices_of(drawn == 2, axis=1) == [j]
    assert dice(drawn[:, j] == 2, liver[:, j]) > 0.6
    found, _ = propagate(viewer)
    params, label = viewer.sent()[-1]
    assert params["axis"] == "1"
    assert params["structures"] == ["Structure 2"]
    sent = label.reshape(drawn.shape, order="F")
    assert np.array_equal(sent == 1, drawn == 1)  # what is there already goes along
    assert slices_of(sent == 2, axis=1) == [j]
    assert len(slices_of(found == 2, axis=1)) > 5
    assert np.array_equal(found[:, j] == 2, drawn[:, j] == 2)
    assert np.array_equal(found == 1, drawn == 1)  # what was there stays
    viewer.screenshot(pictures / "ohif_mpr.png")
