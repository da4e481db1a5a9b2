"""Going through what was found: the suggested slice, slices that are right, steps back and forth."""

import re
from pathlib import Path

import numpy as np
import pytest
from annotator import WIDE, paint_largest_slice, propagate
from monailabel.client import MONAILabelClient

playwright = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def shown_slice(viewer) -> int:
    viewer.settle()
    text = viewer.page.locator(".slmsam2 h3:has-text('Slices') span").inner_text()
    return int(re.match(r"\d+", text)[0])


def suggested(server: str, uid: str, sent, folder: Path) -> int:
    """The slice that the server suggests after the request that the page sent."""
    params, label = sent
    (folder / "label.bin").write_bytes(label.tobytes())
    client = MONAILabelClient(server, tmpdir=str(folder))
    params = {key: value for key, value in params.items() if key != "request_id"}
    _, reply = client.infer("slmsam2", uid, params, label_in=str(folder / "label.bin"))
    return reply["suggested_slice"]


def test_slices_that_are_right_are_given_and_all_steps_can_be_taken_back(
    open_viewer, server, ct, organs, tmp_path
):
    viewer = open_viewer(ct)
    button = {
        name: viewer.page.locator(f".slmsam2 [data-action={name}]") for name in ("confirm", "undo", "redo")
    }
    viewer.name_structure(1, "liver")
    playwright.expect(button["confirm"]).to_be_disabled()
    k, painted = paint_largest_slice(viewer, organs["liver"], 16, WIDE)
    playwright.expect(button["undo"]).to_have_text("Undo painting")
    playwright.expect(button["redo"]).to_be_disabled()
    found, _ = propagate(viewer)
    playwright.expect(button["confirm"]).to_be_disabled()  # this slice was painted

    viewer.page.keyboard.press("n")
    first = shown_slice(viewer)
    assert first == suggested(server, ct.uid, viewer.sent()[0], tmp_path)
    playwright.expect(button["confirm"]).to_be_enabled()
    viewer.page.keyboard.press("y")
    viewer.wait_for_message(f"Slice {first} is yours")
    second = shown_slice(viewer)
    assert second not in (first, k)
    assert abs(second - first) > 1

    again, _ = propagate(viewer)
    assert viewer.sent()[-1][0]["prompt_slices"] == {"liver": {"2": sorted([first, k])}}
    assert np.array_equal(again[:, :, first], found[:, :, first])

    confirmation = f"confirmation (slice {first})"
    for said, shown in (("propagation", found), (confirmation, found), ("propagation", painted)):
        viewer.page.keyboard.press("Control+z")
        viewer.wait_for_message(f"The last {said} was taken back")
        assert np.array_equal(viewer.label(), shown)
    while viewer.label().any():
        assert button["undo"].inner_text() == "Undo painting"
        viewer.press("undo")
        viewer.settle()
    playwright.expect(button["undo"]).to_be_disabled()
    while button["redo"].is_enabled():
        viewer.page.keyboard.press("Control+Shift+Z")
        viewer.settle()
    assert np.array_equal(viewer.label(), again)
