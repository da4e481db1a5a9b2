"""Paint a slice, propagate, correct, submit, train, without leaving the browser."""

import numpy as np
import pytest
from annotator import RADIUS, by_python_client, dice, paint_largest_slice, propagate, slices_of
from scipy.ndimage import binary_dilation
from seg_objects import labelmap, segments

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

SECONDS = 60  # for the first propagation; on two cores that have nothing else to do it takes less than 25


def test_paint_propagate_correct_submit(open_viewer, server, pacs, ct, organs, tmp_path, pictures):
    viewer = open_viewer(ct)
    count = ct.label.shape[2]
    viewer.name_structure(1, "liver")
    k, painted = paint_largest_slice(viewer, organs["liver"], 10)
    viewer.screenshot(pictures / "ohif_painted.png")
    found, seconds = propagate(viewer)
    assert (
        dice(painted[:, :, k] > 0, organs["liver"][:, :, k]) > 0.75
    )  # the brush paints where the mouse goes
    assert seconds < SECONDS
    assert len(slices_of(found)) > 15
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    assert np.array_equal(found, by_python_client(server, ct.uid, viewer.sent()[0], tmp_path))
    viewer.screenshot(pictures / "ohif_propagated.png")

    # correct a slice: take away its left half
    c = k - 6
    viewer.show_slice(c, count)
    viewer.choose_tool("Eraser", 12)
    half = found[:, :, c] > 0
    columns = np.flatnonzero(half.any(axis=1))
    half[: int(columns.mean())] = False
    viewer.paint(binary_dilation(half, iterations=5), 2, c, 4)
    corrected = viewer.label()
    assert slices_of(corrected != found) == [c]
    again, _ = propagate(viewer)
    params, label = viewer.sent()[1]
    assert params["prompt_slices"] == {"liver": [c, k]}
    label = label.reshape(found.shape, order="F")
    assert slices_of(label) == [c, k]  # exactly what the user painted or changed
    assert np.array_equal(label[:, :, [c, k]], corrected[:, :, [c, k]])
    assert np.array_equal(again[:, :, [c, k]], corrected[:, :, [c, k]])  # and it stays
    for near in (c - 1, c + 1):
        assert dice(again[:, :, near] > 0, again[:, :, c] > 0) > dice(
            found[:, :, near] > 0, again[:, :, c] > 0
        )
    viewer.screenshot(pictures / "ohif_corrected.png")

    viewer.press("undo")
    viewer.wait_for_message("taken back")
    assert np.array_equal(viewer.label(), corrected)
    viewer.page.keyboard.press("p")  # and once more, by its key
    viewer.wait_for_message("slices")
    assert np.array_equal(viewer.label(), again)

    # another structure does not overwrite the first
    viewer.page.click(".slmsam2 >> text=+ Add")
    viewer.choose_tool("Brush", 10)
    viewer.show_slice(k, count)
    viewer.name_structure(2, "spleen")
    viewer.paint(organs["spleen"][:, :, k], 2, k, RADIUS)
    viewer.page.select_option(".slmsam2 [title='What to propagate']", "active")
    viewer.press("propagate")
    viewer.wait_for_message("spleen")
    both = viewer.label()
    assert set(np.unique(both)) == {0, 1, 2}
    assert np.array_equal(both == 1, again == 1)

    # erased from a slice, it is not there, nor beyond; the first structure is
    e = k - 3
    viewer.choose_tool("Eraser", 12)
    viewer.show_slice(e, count)
    viewer.paint(binary_dilation(both[:, :, e] == 2, iterations=5), 2, e, 4)
    erased = viewer.label()
    assert slices_of(erased != both) == [e]
    assert not (erased[:, :, e] == 2).any()
    viewer.page.select_option(".slmsam2 [title='What to propagate']", "all")
    both, _ = propagate(viewer)
    assert viewer.sent()[-1][0]["prompt_slices"] == {"liver": [c, k], "spleen": [e, k]}
    assert min(slices_of(both == 2)) > e
    assert dice(both[:, :, : e + 1] == 1, again[:, :, : e + 1] == 1) > 0.95

    # submit: the SEG in the PACS is what the page shows
    viewer.press("submit")
    viewer.wait_for_message("Submitted: liver, spleen")
    (seg,) = pacs.segmentations(ct.uid)
    assert segments(seg) == {1: "liver", 2: "spleen"}
    assert np.array_equal(labelmap(seg, both.shape, ct.lps), both)
    viewer.screenshot(pictures / "ohif_submitted.png")

    # the newest one is loaded, in a page that knows nothing of all this
    viewer.choose_tool("Eraser", 12)
    viewer.show_slice(k, count)
    viewer.paint(organs["liver"][:, :, k], 2, k, 4)
    viewer.press("submit")
    viewer.wait_for_message("Submitted")
    newest = viewer.label()
    assert not np.array_equal(newest, both)
    assert len(pacs.segmentations(ct.uid)) == 2
    other = open_viewer(ct)
    other.press("load")
    other.wait_for_message("Loaded: liver, spleen")
    shown = other.label()
    names = other.structure_names()
    for value, name in ((1, "liver"), (2, "spleen")):
        assert np.array_equal(shown == names[name], newest == value)

    # next sample: the other series
    viewer.press("next-sample")
    viewer.page.wait_for_url("**SeriesInstanceUIDs=*", timeout=60_000)
    assert ct.uid not in viewer.page.url
    viewer.page.wait_for_selector(".slmsam2-structures li", timeout=90_000)
