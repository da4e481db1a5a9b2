"""Labels of the PACS in OHIF: corrected after they were loaded, or opened beside painting that is not submitted."""

import json

import numpy as np
import pytest
import requests
from annotator import largest_slice, slices_of
from waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def put(server, series, label):
    saved = requests.put(
        f"{server}/datastore/label",
        params={"image": series.uid, "tag": "final"},
        data={"params": json.dumps({"client_id": "anna", "label_info": [{"name": "structure", "id": 1}]})},
        files={"label": ("label.bin", label.tobytes(order="F"))},
        timeout=60,
    )
    assert saved.ok


def test_a_correction_of_a_loaded_label_leaves_its_other_slices(
    open_viewer, server, no_labels, mr, mr_structure
):
    label = mr_structure.astype(np.uint8)
    put(server, mr, label)
    viewer = open_viewer(mr)
    viewer.press("load")
    viewer.wait_for_message("Loaded: structure. Saved ")
    viewer.wait_for_message(" by anna. These slices count as yours")
    names = viewer.structure_names()
    loaded = viewer.label()
    assert np.array_equal(loaded == names["structure"], label == 1)
    k = largest_slice(mr_structure)
    i, j = (int(index.mean()) for index in np.nonzero(mr_structure[:, :, k]))
    viewer.choose_structure(names["structure"])
    viewer.show_slice(k, label.shape[2])
    viewer.choose_tool("Eraser", 5)
    viewer.stroke([(i, j, k)])
    corrected = viewer.label()
    assert slices_of(corrected != loaded) == [k]
    viewer.press("propagate")
    viewer.wait_for_message("structure: slices")
    given = slices_of(label)
    assert viewer.sent()[-1][0]["prompt_slices"] == {"structure": {"2": given}}
    assert np.array_equal(viewer.label()[:, :, given], corrected[:, :, given])


def test_an_opened_label_and_the_way_back_lose_no_painting(open_viewer, server, no_labels, mr):
    label = np.zeros(mr.array.shape, np.uint8)
    label[10:20, 12:30, 3:6] = 1
    put(server, mr, label)
    viewer = open_viewer(mr)
    i, j, k = (size // 2 for size in label.shape)
    viewer.show_slice(k, label.shape[2])
    viewer.choose_tool("Brush", 10)
    viewer.stroke([(i, j, k)])
    painted = viewer.label()
    assert painted.any()

    viewer.page.locator("[data-cy=study-browser-thumbnail-no-image]").first.dblclick()
    viewer.page.get_by_text("Yes", exact=True).first.click(timeout=60_000)
    viewer.wait_for_message("Not submitted of this series: 'SLM-SAM 2'")
    until(lambda: np.array_equal(viewer.label(), label), 60)

    panel = viewer.page.locator(".slmsam2-structures li").first
    viewer.page.click("[data-cy=return-to-work-list]")
    panel.wait_for(state="detached", timeout=60_000)
    viewer.page.evaluate("history.go(-2)")  # the list of studies is two steps for the browser
    panel.wait_for(timeout=90_000)
    viewer.wait_for_message("is back")
    until(lambda: np.array_equal(viewer.label(), painted), 60)
