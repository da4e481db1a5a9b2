"""A label is flagged in OHIF, comes back to who saved it, is corrected, and approved."""

import json

import numpy as np
import pytest
import requests
from annotator import largest_slice

playwright = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

expect = playwright.expect
COMMENT = "the lower end is missing"
LATER = "() => { const now = Date.now; Date.now = () => now() + 2 * 3600 * 1000; }"


def test_a_label_is_flagged_corrected_and_approved(open_viewer, server, no_labels, ct, mr, organs, pictures):
    liver = organs["liver"]
    told = {"client_id": "browser-7e575", "label_info": [{"name": "liver", "id": 1}]}
    saved = requests.put(
        f"{server}/datastore/label",
        params={"image": ct.uid, "tag": "final"},
        data={"params": json.dumps(told)},
        files={"label": ("label.bin", liver.astype(np.uint8).tobytes(order="F"))},
        timeout=60,
    )
    assert saved.ok

    reviewer = open_viewer(ct)
    words = reviewer.page.locator(".slmsam2-reviewed")
    expect(words).to_contain_text("Label saved just now, not reviewed yet.", timeout=60_000)
    expect(words).to_have_attribute("aria-live", "polite")
    reviewer.page.evaluate(LATER)
    reviewer.page.keyboard.press("q")  # the panel is drawn anew
    expect(words).to_contain_text("2 hours ago")
    expect(words).to_have_attribute("aria-live", "off")  # that it is older is not said aloud
    reviewer.press("who")
    reviewer.page.keyboard.type("Rita")
    reviewer.page.keyboard.press("Enter")
    expect(reviewer.page.locator("[data-action=who]")).to_have_text("Rita")
    expect(reviewer.page.locator("[data-action=who]")).to_be_focused()
    reviewer.press("review")
    reviewer.page.keyboard.type(COMMENT)  # no key is a shortcut there
    reviewer.page.keyboard.press("Tab")
    reviewer.page.keyboard.press("Enter")
    flagged = f"Flagged by Rita: {COMMENT}. Load saved, correct it, submit it again."
    expect(words).to_have_text(flagged, timeout=60_000)
    expect(words).to_have_attribute("aria-live", "polite")
    expect(reviewer.page.locator("[data-action=flag]")).to_be_hidden()
    expect(reviewer.page.locator("[data-action=review]")).to_be_focused()
    assert requests.get(f"{server}/info/", timeout=60).json()["review"]["flagged"] == 1

    viewer = open_viewer(mr)
    assert viewer.page.locator(".slmsam2-reviewed").is_hidden()
    viewer.press("next-sample")
    viewer.page.wait_for_url(f"**SeriesInstanceUIDs={ct.uid}*", timeout=60_000)
    viewer.page.wait_for_selector(".slmsam2-structures li", timeout=90_000)
    words = viewer.page.locator(".slmsam2-reviewed")
    expect(words).to_have_text(flagged, timeout=60_000)
    viewer.lps = ct.lps
    viewer.press("load")
    viewer.wait_for_message("Loaded: liver.")
    loaded = viewer.label()
    k = largest_slice(liver)
    viewer.show_slice(k, liver.shape[2])
    viewer.screenshot(pictures / "ohif_review.png")
    viewer.choose_structure(viewer.structure_names()["liver"])
    viewer.choose_tool("Brush", 20)
    i, j = (size // 2 for size in liver.shape[:2])
    viewer.stroke([(i, j, k)])
    corrected = viewer.label()
    assert not np.array_equal(corrected, loaded)
    viewer.press("review")
    viewer.press("approve")
    viewer.wait_for_message("submit it first")
    viewer.press("submit")
    viewer.wait_for_message("Submitted: liver")
    expect(words).to_contain_text("not reviewed yet", timeout=60_000)
    viewer.press("review")
    viewer.press("approve")
    expect(words).to_have_text("Approved.", timeout=60_000)
    told = requests.get(f"{server}/info/", timeout=60).json()["review"]
    assert (told["approved"], told["flagged"]) == (1, 0)
    viewer.press("review")
    viewer.press("take-back")
    expect(words).to_contain_text("not reviewed yet", timeout=60_000)
    expect(viewer.page.locator("[data-action=take-back]")).to_be_hidden()
    assert requests.get(f"{server}/info/", timeout=60).json()["review"]["approved"] == 0
