"""Paint a slice, propagate, correct, submit, train, without leaving the browser."""

import numpy as np
import pytest
from annotator import (
    AWAY,
    RADIUS,
    WIDE,
    Scene,
    by_python_client,
    correct,
    dice,
    go_to_next_sample,
    paint_largest_slice,
    paint_scene,
    propagate,
    propagate_correction,
    slices_of,
    submit,
    train,
    undo_and_repeat,
)
from scipy.ndimage import binary_dilation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

LAYOUTS = ("stack", "mpr", "sagittal")
SECONDS = 60.0  # for the first propagation, whatever else the machine does
CPU_SECONDS = 20.0  # that the server computes for it: with nothing else to do, the mask is there within 25 s


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def scene(layout, ct, mr, mr_structure, organs):
    """An axial CT in OHIF's stack and in three planes, and a sagittal MR."""
    if layout == "sagittal":
        return Scene("structure", mr, ct, mr_structure)
    if layout == "mpr":
        return Scene("spleen", ct, mr, organs["spleen"], mpr=True)
    return Scene("liver", ct, mr, organs["liver"], radius=WIDE)


def test_from_one_slice_to_the_next_sample(
    layout, scene, open_viewer, server, server_process, pacs, tmp_path, pictures, tell
):
    viewer = open_viewer(scene.series)
    pictured = layout == "stack"
    k, painted = paint_scene(viewer, scene)
    if pictured:
        viewer.screenshot(pictures / "ohif_painted.png")
    found, cost = propagate(viewer, server_process)
    tell(
        f"first propagation, {layout}, {found.shape[2]} slices, from press to mask: "
        f"{cost.seconds:.1f} s, of which the server computed {cost.cpu:.1f} s"
    )
    assert cost.seconds < SECONDS
    assert cost.cpu < CPU_SECONDS
    assert np.array_equal(found[:, :, k], painted[:, :, k])
    assert len(slices_of(found)) > 2 * AWAY
    assert np.array_equal(found, by_python_client(server, scene.series.uid, viewer.sent()[0], tmp_path))
    if pictured:
        viewer.screenshot(pictures / "ohif_propagated.png")

    c = k - AWAY
    corrected = correct(viewer, scene, found, c)
    again = propagate_correction(viewer, scene, found, corrected, [c, k])
    if pictured:
        viewer.screenshot(pictures / "ohif_corrected.png")
    undo_and_repeat(viewer, corrected, again)

    submit(viewer, pacs, scene.series, {scene.structure: 1})
    if pictured:  # it is the same from each layout
        train(viewer, pictures / "ohif_training.png")
    go_to_next_sample(viewer, scene.other)


def test_two_structures(open_viewer, pacs, ct, organs, pictures):
    viewer = open_viewer(ct)
    count = ct.label.shape[2]
    viewer.name_structure(1, "liver")
    k, _ = paint_largest_slice(viewer, organs["liver"], 16, WIDE)
    first, _ = propagate(viewer)

    # another structure does not overwrite the first
    viewer.page.click(".slmsam2 >> text=+ Add")
    viewer.name_structure(2, "spleen")
    viewer.choose_tool("Brush", 10)
    viewer.choose_structure(1)
    viewer.choose_structure(2)
    viewer.page.keyboard.press("e")
    viewer.page.keyboard.press("b")  # the keys are the tools' and not the name's
    assert viewer.structure_names() == {"liver": 1, "spleen": 2}
    viewer.paint(organs["spleen"][:, :, k], 2, k, RADIUS)
    viewer.page.select_option(".slmsam2 [title='What to propagate']", "active")
    viewer.press("propagate")
    viewer.wait_for_message("spleen")
    both = viewer.label()
    assert set(np.unique(both)) == {0, 1, 2}
    assert np.array_equal(both == 1, first == 1)

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
    assert viewer.sent()[-1][0]["prompt_slices"] == {"liver": {"2": [k]}, "spleen": {"2": [e, k]}}
    assert min(slices_of(both == 2)) > e
    assert dice(both[:, :, : e + 1] == 1, first[:, :, : e + 1] == 1) > 0.95
    submit(viewer, pacs, ct, {"liver": 1, "spleen": 2})
    viewer.show_slice(k, count)
    viewer.screenshot(pictures / "ohif_submitted.png")

    # the newest label is loaded, in a page that knows nothing of all this
    viewer.paint(organs["liver"][:, :, k], 2, k, 4)
    newest = submit(viewer, pacs, ct, {"liver": 1, "spleen": 2})
    assert not np.array_equal(newest, both)
    other = open_viewer(ct)
    other.press("load")
    other.wait_for_message("Loaded: liver, spleen")
    shown = other.label()
    names = other.structure_names()
    for value, name in ((1, "liver"), (2, "spleen")):
        assert np.array_equal(shown == names[name], newest == value)
