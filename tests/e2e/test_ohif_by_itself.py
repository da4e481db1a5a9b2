"""Corrections that are propagated as soon as the annotator pauses, without the button."""

import numpy as np
import pytest
from annotator import AWAY, RADIUS_OF_ERASER, WIDE, paint_largest_slice, propagate, slices_of
from scipy.ndimage import binary_dilation

playwright = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def test_a_correction_is_propagated_as_soon_as_the_annotator_pauses(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    wish = viewer.page.get_by_label("Auto-propagate corrections")
    playwright.expect(wish).not_to_be_checked()
    wish.check()
    viewer.name_structure(1, "liver")
    k, painted = paint_largest_slice(viewer, organs["liver"], 16, WIDE)
    viewer.page.wait_for_timeout(2000)
    assert np.array_equal(viewer.label(), painted)  # a new structure waits for the button
    found, _ = propagate(viewer)

    c = k + AWAY if k + AWAY in slices_of(found) else k - AWAY
    viewer.show_slice(c, found.shape[2])
    viewer.choose_tool("Eraser", round(RADIUS_OF_ERASER * 3))
    half = found[:, :, c] > 0
    half[: int(np.flatnonzero(half.any(axis=1)).mean())] = False
    viewer.paint(binary_dilation(half, iterations=RADIUS_OF_ERASER + 1), 2, c, RADIUS_OF_ERASER)
    viewer.wait_for_message("slices")
    again = viewer.label()
    params, label = viewer.sent()[-1]
    assert params["prompt_slices"] == {"liver": {"2": sorted([c, k])}}
    label = label.reshape(found.shape, order="F")
    assert np.array_equal(again[:, :, c], label[:, :, c])  # as it was corrected
    near = c + np.sign(c - k)
    assert (again[:, :, near] > 0).sum() < (found[:, :, near] > 0).sum()

    viewer.page.keyboard.press("u")
    viewer.wait_for_message("propagation was taken back")
    viewer.page.keyboard.press("u")
    viewer.wait_for_message("painting")
    viewer.page.wait_for_timeout(2000)
    assert np.array_equal(viewer.label(), found)  # nothing follows
    viewer.page.reload()
    playwright.expect(wish).to_be_checked(timeout=60_000)  # for the images that follow
