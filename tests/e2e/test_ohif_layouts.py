"""Three planes at once, and a series that was not acquired axially."""

import numpy as np
import pytest
from annotator import RADIUS, by_python_client, dice, largest_slice, paint_largest_slice, propagate, slices_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_three_planes(open_viewer, server, ct, organs, tmp_path, pictures):
    viewer = open_viewer(ct)
    viewer.choose_mpr()
    spleen = organs["spleen"]
    k, painted = paint_largest_slice(viewer, spleen, 10)
    found, _ = propagate(viewer)
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    assert len(slices_of(found)) > 5
    assert np.array_equal(found, by_python_client(server, ct.uid, viewer.sent()[0], tmp_path))

    # another structure, painted in the coronal plane, goes from front to back
    viewer.page.click(".slmsam2 >> text=+ Add")
    viewer.page.select_option(".slmsam2 [title='What to propagate']", "active")
    liver = organs["liver"] & (found == 0)
    j = largest_slice(liver, axis=1)
    viewer.centre_on("mpr-coronal", (60, j, 100))
    viewer.paint(liver[:, j, :], 1, j, RADIUS, viewport="mpr-coronal")
    drawn = viewer.label()
    assert slices_of(drawn == 2, axis=1) == [j]
    assert dice(drawn[:, j] == 2, liver[:, j]) > 0.6
    again, _ = propagate(viewer)
    params, label = viewer.sent()[1]
    assert params["axis"] == "1"
    assert params["structures"] == ["Structure 2"]
    assert set(np.unique(label)) == {0, 2}
    assert len(slices_of(again == 2, axis=1)) > 5
    assert np.array_equal(again[:, j] == 2, drawn[:, j] == 2)
    assert np.array_equal(again == 1, drawn == 1)  # what was there stays
    viewer.screenshot(pictures / "ohif_mpr.png")


def test_sagittal_series(open_viewer, server, mr, tmp_path):
    viewer = open_viewer(mr)
    value = int(np.bincount(mr.label.ravel())[1:].argmax()) + 1
    k, painted = paint_largest_slice(viewer, mr.label == value, 5)
    found, _ = propagate(viewer)
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    assert len(slices_of(found)) > 1
    assert np.array_equal(found, by_python_client(server, mr.uid, viewer.sent()[0], tmp_path))
