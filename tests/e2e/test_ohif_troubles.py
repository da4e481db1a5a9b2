"""What users meet on a bad day: nothing painted, a wait, second thoughts, no connection."""

import numpy as np
import pytest
import requests
from annotator import paint_largest_slice

expect = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e").expect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_nothing_painted_nothing_saved(open_viewer, no_labels, mr):
    viewer = open_viewer(mr)
    viewer.press("propagate")
    viewer.wait_for_message("Paint Structure 1 on one slice first")
    viewer.press("submit")
    viewer.wait_for_message("There is nothing to submit")
    viewer.press("load")
    viewer.wait_for_message("No label is saved for this series.")
    viewer.page.click(".slmsam2 >> text=+ Add")
    viewer.name_structure(2, "Structure 1")
    viewer.wait_for_message("There is a structure 'Structure 1' already")
    viewer.name_structure(2, "spleen")
    assert viewer.structure_names() == {"Structure 1": 1, "spleen": 2}
    expect(viewer.page.get_by_role("button", name="spleen", exact=True)).to_be_focused()


def test_page_stays_usable_and_a_run_can_be_cancelled(open_viewer, server, ct, organs):
    viewer = open_viewer(ct)
    # a wider brush than elsewhere: what another test asked for would be answered at once, from memory
    _, painted = paint_largest_slice(viewer, organs["liver"], 13)
    image = f"{server}/proxy/dicom/wado/studies/{ct.study}/series/{ct.uid}/metadata"
    viewer.press("propagate")
    progress = viewer.page.locator("[data-role=progress]")
    expect(progress).to_contain_text("slices", timeout=60_000)  # as they are done
    assert requests.get(image, timeout=60).ok
    viewer.page.evaluate("1")
    assert progress.is_visible()  # both were answered while the propagation went on
    viewer.press("cancel")
    viewer.wait_for_message("This propagation was cancelled. Nothing has changed.")
    assert np.array_equal(viewer.label(), painted)


def test_lost_connection_loses_no_painting(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    k, painted = paint_largest_slice(viewer, organs["spleen"], 10)
    viewer.page.context.set_offline(True)
    viewer.press("propagate")
    viewer.wait_for_message("The server does not answer. Your painting is safe")
    assert np.array_equal(viewer.label(), painted)
    viewer.page.context.set_offline(False)
    viewer.page.locator("[data-action=propagate]:enabled").wait_for(timeout=60_000)
    viewer.press("propagate")
    viewer.wait_for_message("slices")
    assert np.array_equal(viewer.label()[:, :, k], painted[:, :, k])


def test_the_way_back_to_the_studies_loses_no_painting(open_viewer, ct, organs):
    viewer = open_viewer(ct)
    _, painted = paint_largest_slice(viewer, organs["spleen"], 10)
    panel = viewer.page.locator(".slmsam2-structures li").first
    viewer.page.click("[data-cy=return-to-work-list]")  # within the page: the browser does not ask
    panel.wait_for(state="detached", timeout=60_000)
    viewer.page.evaluate("history.go(-2)")  # the list of studies is two steps for the browser
    panel.wait_for(timeout=90_000)
    viewer.wait_for_message("is back")
    assert np.array_equal(viewer.label(), painted)


def test_a_saved_label_replaces_painting_only_by_a_second_press(open_viewer, no_labels, mr):
    viewer = open_viewer(mr)
    before = viewer.label()
    k = before.shape[2] // 2
    viewer.show_slice(k, before.shape[2])
    viewer.choose_tool("Brush", 10)
    viewer.stroke([(before.shape[0] // 2, before.shape[1] // 2, k)])
    viewer.press("load")
    viewer.wait_for_message("press Load saved again to replace it")
    viewer.page.wait_for_timeout(700)  # a double click is no yes
    viewer.press("load")
    viewer.wait_for_message("No label is saved for this series.")
    assert viewer.label().any()
