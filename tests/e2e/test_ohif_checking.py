"""Going through what was found: the suggested slice, slices that are right, steps back and forth."""

import re
from pathlib import Path

import numpy as np
import pytest
from annotator import WIDE, paint_largest_slice, propagate, slices_of
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
    strip = viewer.page.locator(".slmsam2-strip")  # to screen readers
    playwright.expect(strip).to_have_attribute("aria-valuetext", f"Slice {k}: liver yours")

    viewer.page.keyboard.press("n")
    first = shown_slice(viewer)
    assert first == suggested(server, ct.uid, viewer.sent()[0], tmp_path)
    playwright.expect(button["confirm"]).to_be_enabled()
    viewer.page.keyboard.press("y")
    viewer.wait_for_message(f"Slice {first} is yours")
    second = shown_slice(viewer)
    told = re.compile(rf"^Slice {second}: liver \d+ % sure$")
    playwright.expect(strip).to_have_attribute("aria-valuetext", told)
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


def test_keys_choose_the_structure_and_the_size_of_the_brush(open_viewer, mr):
    viewer = open_viewer(mr)
    viewer.page.click(".slmsam2 >> text=+ Add")
    rows = viewer.page.locator(".slmsam2-structures li")
    viewer.choose_structure(1)
    for key, chosen in (("w", 1), ("w", 0), ("q", 1)):
        viewer.page.keyboard.press(key)
        playwright.expect(rows.nth(chosen)).to_have_class("slmsam2-active")
    size = viewer.page.locator(".slmsam2 output")
    for key, radius in (("]", 17), ("]", 19), ("[", 17)):
        viewer.page.keyboard.press(key)
        playwright.expect(size).to_have_text(f"{radius} mm")
    i, j, k = (length // 2 for length in mr.array.shape)
    viewer.show_slice(k, mr.array.shape[2])
    viewer.page.keyboard.press("b")
    viewer.stroke([(i, j, k)])
    assert set(np.unique(viewer.label())) == {0, 2}
    area = np.count_nonzero(viewer.label()) * np.linalg.norm(mr.lps[:3, 0]) * np.linalg.norm(mr.lps[:3, 1])
    assert abs(area / (np.pi * 17**2) - 1) < 0.1


def test_the_same_place_can_be_painted_again(open_viewer, ct):
    viewer = open_viewer(ct)
    viewer.choose_tool("Brush", 16)
    columns, rows, slices = ct.label.shape
    place = [(columns // 2, rows // 2, slices // 2)]
    viewer.show_slice(slices // 2, slices)
    viewer.stroke(place)
    painted = viewer.label()
    assert slices_of(painted) == [slices // 2]
    viewer.page.keyboard.press("u")
    viewer.settle()
    assert not viewer.label().any()
    viewer.stroke(place)
    assert np.array_equal(viewer.label(), painted)
    viewer.show_slice(slices // 2 + 1, slices)
    viewer.stroke(place)
    assert slices_of(viewer.label()) == [slices // 2, slices // 2 + 1]
