"""Drawing a slice by clicks."""

import numpy as np
import pytest
from annotator import largest_slice, paint_largest_slice, propagate, slices_of

expect = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e").expect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LOCK = """
() => {
  const { segmentationService, viewportGridService } = window.services;
  const { segmentationId } = segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId());
  segmentationService.setSegmentLocked(segmentationId, 1, true);
}
"""


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


def test_points_end_when_a_tool_is_chosen_in_the_toolbar(open_viewer, mr):
    viewer = open_viewer(mr)
    points = viewer.page.locator(".slmsam2 [data-action=points]")
    viewer.press("points")
    expect(points).to_have_attribute("aria-pressed", "true")
    viewer.page.click("[data-cy=Zoom]")
    expect(points).to_have_attribute("aria-pressed", "false")


def test_a_locked_structure_is_not_drawn(open_viewer, mr):
    viewer = open_viewer(mr)
    before = viewer.label()
    viewer.page.evaluate(LOCK)
    viewer.press("points")
    viewer.click(tuple(size // 2 for size in before.shape))
    viewer.wait_for_message("Locked in OHIF's segmentation tab: Structure 1")
    assert not viewer.label().any()
