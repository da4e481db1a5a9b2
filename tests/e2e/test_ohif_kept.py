"""What was not submitted comes back after a crash, or when its tab was closed, and two tabs keep each its own."""

import shutil

import numpy as np
import psutil
import pytest
from annotator import paint_largest_slice, propagate
from waiting import until

from conftest import CHROMIUM, FLAGS

expect = pytest.importorskip("playwright.sync_api", reason="run bash scripts/test.sh --e2e").expect

from viewer_page import ONE_ANNOTATOR, ViewerPage  # noqa: E402 - needs playwright

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

# bytes of each work that the browser keeps
KEPT = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.open('slmsam2');
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    if (!request.result.objectStoreNames.length) return resolve([]);
    const keys = request.result.transaction('unsubmitted').objectStore('unsubmitted').getAllKeys();
    keys.onsuccess = () => { request.result.close(); resolve(keys.result.map(key => key[5])); };
  };
})
"""


@pytest.fixture
def profile(browser, tmp_path):
    """Starts a browser that keeps what it has on the disk; it stays there until the test is over."""
    contexts = []

    def start():
        options = {
            "executable_path": str(CHROMIUM),
            "args": FLAGS,
            "viewport": {"width": 1400, "height": 820},
        }
        contexts.append(browser.browser_type.launch_persistent_context(str(tmp_path / "profile"), **options))
        contexts[-1].add_init_script(ONE_ANNOTATOR)
        return contexts[-1]

    yield start
    contexts[-1].close()
    shutil.rmtree(tmp_path / "profile", ignore_errors=True)


def kill(folder):
    """The browser with this profile, all its processes at once, as when the power fails."""
    (first,) = [
        each
        for each in psutil.process_iter(["cmdline"])
        if f"--user-data-dir={folder}" in (each.info["cmdline"] or [])
        and not any(word.startswith("--type=") for word in each.info["cmdline"])
    ]
    for process in [first, *first.children(recursive=True)]:
        process.kill()


def open_in(context, server, series):
    viewer = ViewerPage(context.new_page(), server, series.lps)
    viewer.open(series.study)
    return viewer


def kept(viewer):
    return viewer.page.evaluate(KEPT)


def dot(viewer, series, radius, shift=0):
    """A dab of the brush on the middle slice: the label map."""
    i, j, k = (size // 2 for size in series.array.shape)
    viewer.show_slice(k, series.array.shape[2])
    viewer.choose_tool("Brush", radius)
    viewer.stroke([(i + shift, j, k)])
    return viewer.label()


def test_work_survives_the_death_of_the_browser(profile, tmp_path, server, no_labels, ct, organs, tell):
    viewer = open_in(profile(), server, ct)
    viewer.name_structure(1, "spleen")
    viewer.page.locator(".slmsam2-structures input[type=color]").first.fill("#20c0e0")
    k, painted = paint_largest_slice(viewer, organs["spleen"], 10)
    until(lambda: len(kept(viewer)) == 1, 30)
    kill(tmp_path / "profile")

    viewer = open_in(profile(), server, ct)
    viewer.wait_for_message("is back")
    assert np.array_equal(viewer.label(), painted)
    assert viewer.structure_names() == {"spleen": 1}
    colour = viewer.page.locator(".slmsam2-structures input[type=color]").first
    expect(colour).to_have_value("#20c0e0")
    viewer.show_slice(k, painted.shape[2])
    expect(viewer.page.locator(".slmsam2 h3:has-text('Slices') span")).to_have_text(f"{k} · yours")
    viewer.press("undo")
    viewer.wait_for_message("taken back")
    assert not viewer.label().any()
    viewer.press("redo")
    viewer.wait_for_message("is back")
    assert np.array_equal(viewer.label(), painted)
    until(lambda: len(kept(viewer)) == 1, 30)
    before = kept(viewer)
    found, _ = propagate(viewer)
    assert viewer.sent()[-1][0]["prompt_slices"] == {"spleen": {"2": [k]}}
    until(lambda: kept(viewer) != before, 30)
    tell(f"kept in the browser: {sum(kept(viewer))} bytes for {found.size} voxels")

    viewer.press("submit")
    viewer.wait_for_message("Submitted: spleen")
    until(lambda: kept(viewer) == [], 10)
    viewer.page.close()
    viewer = open_in(viewer.page.context, server, ct)
    assert not viewer.label().any()
    assert "is back" not in viewer.message()


def test_two_tabs_on_one_series_keep_each_its_own(open_viewer, server, mr):
    first = open_viewer(mr)
    painted = dot(first, mr, 10)
    until(lambda: len(kept(first)) == 1, 30)
    second = open_in(first.page.context, server, mr)
    second.wait_for_message("Another tab or window has painting on this series")
    assert not second.label().any()
    other = dot(second, mr, 14, shift=-8)
    until(lambda: len(kept(second)) == 2, 30)
    first.page.close()  # nothing is asked

    third = open_in(second.page.context, server, mr)
    third.wait_for_message("is back")
    third.wait_for_message("Another tab or window has painting on this series")
    assert np.array_equal(third.label(), painted)
    assert np.array_equal(second.label(), other)
    assert len(kept(second)) == 2
