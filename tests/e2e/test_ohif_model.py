"""Training from the browser, and drawing a slice by clicks."""

import numpy as np
import pytest
from annotator import largest_slice, paint_largest_slice, propagate, slices_of

expect = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e").expect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_train(open_viewer, ct, organs, pictures):
    viewer = open_viewer(ct)
    words = viewer.page.locator("[data-role=training]")
    button = viewer.page.locator("[data-action=train]")
    paint_largest_slice(viewer, organs["spleen"], 10)
    propagate(viewer)
    viewer.press("submit")
    viewer.wait_for_message("Submitted")
    viewer.press("train")
    expect(words).to_contain_text("epoch", timeout=180_000)
    viewer.screenshot(pictures / "ohif_training.png")
    expect(words).to_contain_text("finished", timeout=1_200_000)
    expect(button).to_have_text("Train")


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
