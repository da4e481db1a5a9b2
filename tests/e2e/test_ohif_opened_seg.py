"""A label of the PACS that is opened in OHIF itself, beside painting that is not submitted."""

import json

import numpy as np
import pytest
import requests

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_an_opened_label_and_the_way_back_lose_no_painting(open_viewer, server, no_labels, mr):
    label = np.zeros(mr.array.shape, np.uint8)
    label[10:20, 12:30, 3:6] = 1
    saved = requests.put(
        f"{server}/datastore/label",
        params={"image": mr.uid, "tag": "final"},
        data={"params": json.dumps({"label_info": [{"name": "box", "id": 1}]})},
        files={"label": ("label.bin", label.tobytes(order="F"))},
        timeout=60,
    )
    assert saved.ok
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
    assert np.array_equal(viewer.label(), label)

    panel = viewer.page.locator(".slmsam2-structures li").first
    viewer.page.click("[data-cy=return-to-work-list]")
    panel.wait_for(state="detached", timeout=60_000)
    viewer.page.evaluate("history.go(-2)")  # the list of studies is two steps for the browser
    panel.wait_for(timeout=90_000)
    viewer.wait_for_message("is back")
    assert np.array_equal(viewer.label(), painted)
