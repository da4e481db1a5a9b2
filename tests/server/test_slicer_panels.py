"""The requests of each panel of the stock 3D Slicer module, as it builds them, and the loop of corrections."""

import shutil
from functools import partial

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from server_studies import SHAPE, painted_slice, refused, write_nifti, write_nrrd
from slicer_module import answer, panel_parameters, scribbles, slices_of, smart_edit

pytestmark = pytest.mark.server

PAINTED = 7
LIVER, SPLEEN = (14, 18), (30, 20)  # a voxel (i, j) inside each on the slices 4 to 10


# ---- scribbles -----------------------------------------------------------------------------------------------------


def test_update_on_an_unchanged_proposal_gives_it_again(slicer, truth, tmp_path):
    first, reply = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert facts["painted"] == [PAINTED]
    assert len(slices_of(first)) > 4
    again, reply = scribbles(slicer, tmp_path, first, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert (facts["painted"], facts["redone"]) == ([PAINTED], [])
    np.testing.assert_array_equal(again, first)


def test_a_second_segment_of_the_same_name_is_the_same_structure(slicer, truth, tmp_path):
    painted = painted_slice(truth, PAINTED) == 1
    first, _ = scribbles(slicer, tmp_path, painted, "liver")
    both = np.where(painted, 1, 2 * first)
    both[:, :, 9] = 0
    both[10:20, 12:24, 9] = 2
    second, reply = scribbles(slicer, tmp_path, both, "liver", names=("liver", "liver"))
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 9]
    np.testing.assert_array_equal(second[:, :, 9] > 0, both[:, :, 9] > 0)


def test_the_slice_that_differs_is_a_correction(slicer, truth, tmp_path):
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    edited = first.copy()
    edited[12:18, 15:22, 9] = 1 - edited[12:18, 15:22, 9]
    second, reply = scribbles(slicer, tmp_path, edited, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert facts["painted"] == [PAINTED, 9]
    assert set(facts["redone"]) <= set(range(PAINTED + 1, SHAPE[2]))
    np.testing.assert_array_equal(second[:, :, 9], edited[:, :, 9])
    np.testing.assert_array_equal(second[:, :, : PAINTED + 1], first[:, :, : PAINTED + 1])


def test_a_correction_in_another_plane(slicer, truth, tmp_path):
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    column = LIVER[0]
    edited = first.copy()
    edited[column, 14:22, 3:12] = 1 - edited[column, 14:22, 3:12]
    second, reply = scribbles(slicer, tmp_path, edited, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert (facts["painted"], facts["painted_across"]) == ([PAINTED], {"0": [column]})
    np.testing.assert_array_equal(second[column], edited[column])
    again, reply = scribbles(slicer, tmp_path, second, "liver")
    np.testing.assert_array_equal(again, second)
    assert reply["report"]["structures"]["liver"]["redone"] == []
    third = second.copy()
    third[12:18, 15:22, 9] = 1 - third[12:18, 15:22, 9]
    last, reply = scribbles(slicer, tmp_path, third, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert (facts["painted"], facts["painted_across"]) == ([PAINTED, 9], {"0": [column]})
    for given in ((column,), (slice(None), slice(None), 9)):
        np.testing.assert_array_equal(last[given], third[given])
    undone, _ = scribbles(slicer, tmp_path, last, "liver", undo=True)
    np.testing.assert_array_equal(undone, second)


def test_a_sketch_in_three_planes(slicer, truth, tmp_path):
    liver = truth == 1
    sketch = painted_slice(truth, PAINTED) == 1
    sketch[LIVER[0]], sketch[:, LIVER[1]] = liver[LIVER[0]], liver[:, LIVER[1]]
    found, reply = scribbles(slicer, tmp_path, sketch, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert (facts["painted"], facts["painted_across"]) == ([PAINTED], {"0": [LIVER[0]], "1": [LIVER[1]]})
    np.testing.assert_array_equal(found[LIVER[0]], liver[LIVER[0]])
    assert found.sum() > 2 * sketch.sum()


def test_an_erased_slice_ends_the_structure(slicer, truth, tmp_path):
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    assert slices_of(first)[-1] > 9
    erased = first.copy()
    erased[:, :, 9] = 0
    second, reply = scribbles(slicer, tmp_path, erased, "liver")
    facts = reply["report"]["structures"]["liver"]
    assert facts["painted"] == [PAINTED, 9]
    assert slices_of(second)[-1] < 9
    assert facts["stopped"]["forward"] == {"slice": 9, "reason": "marked as absent"}


def test_what_was_undone_in_slicer_is_a_new_beginning(slicer, truth, tmp_path):
    scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    two = painted_slice(truth == 1, PAINTED) | painted_slice(truth == 1, 4)
    _, reply = scribbles(slicer, tmp_path, two, "liver")
    assert reply["report"]["structures"]["liver"]["painted"] == [4, PAINTED]


def test_two_annotators_do_not_see_each_other(connect, truth, tmp_path):
    one, other = connect("one"), connect("other")
    first, _ = scribbles(one, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    _, reply = scribbles(other, tmp_path, first, "liver")  # a whole segment, from elsewhere
    assert reply["report"]["structures"]["liver"]["painted"] == slices_of(first)
    _, reply = scribbles(one, tmp_path, first, "liver")
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED]


def test_named_slices_are_enough_without_any_memory(slicer, connect, truth, tmp_path):
    """The same for an annotator the server knows, and for one it does not."""
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    edited = first.copy()
    edited[:, :, 10] = 0
    by_memory, _ = scribbles(slicer, tmp_path, edited, "liver")
    named = {"prompt_slices": [PAINTED, 10]}
    again, _ = scribbles(slicer, tmp_path, edited, "liver", **named)
    alone, reply = scribbles(connect("stranger"), tmp_path, edited, "liver", **named)
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 10]
    np.testing.assert_array_equal(alone, again)
    assert slices_of(alone) == slices_of(by_memory)


def test_corrections_go_on_when_an_image_of_ones_own_was_submitted(slicer, server, truth, tmp_path):
    """The module opens a session for it, and with the first *Submit Label* saves it and asks by its id from then on."""
    own = tmp_path / "own.nii.gz"
    shutil.copy(server.studies / "phantom.nii.gz", own)
    session = slicer.create_session(str(own))["session_id"]
    infer = slicer.infer
    slicer.infer = lambda model, image, params, label_in: infer(
        model, image, params, label_in, session_id=session
    )
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver", image="own")
    slicer.upload_image(str(own), "own")
    try:
        slicer.infer = infer
        edited = first.copy()
        edited[12:18, 15:22, 9] = 1 - edited[12:18, 15:22, 9]
        _, reply = scribbles(slicer, tmp_path, edited, "liver", image="own")
        assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 9]
    finally:
        requests.delete(f"{server.url}/datastore/", params={"id": "own"}, timeout=30)


def test_corrections_go_on_when_a_session_has_ended(slicer, server, truth, tmp_path):
    """After an hour without a request; the module sends the image again, for a new one."""
    own = tmp_path / "own.nii.gz"
    shutil.copy(server.studies / "phantom.nii.gz", own)
    infer = slicer.infer

    def update(label):
        session = slicer.create_session(str(own))["session_id"]
        slicer.infer = partial(infer, session_id=session)
        try:
            return scribbles(slicer, tmp_path, label, "liver", image="own")
        finally:
            slicer.remove_session(session)

    edited, _ = update(painted_slice(truth, PAINTED) == 1)
    edited[12:18, 15:22, 9] = 1 - edited[12:18, 15:22, 9]
    _, reply = update(edited)
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 9]


def test_each_structure_has_slices_of_its_own(slicer, truth, tmp_path):
    """ "Not here" is said of one structure on a slice that shows the other."""
    label = painted_slice(truth, PAINTED)
    erased = PAINTED + 2
    label[:, :, erased] = np.where(truth[:, :, erased] == 2, 2, 0)
    info = [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}]
    own = {"liver": [PAINTED, erased], "spleen": [PAINTED, erased]}
    file = str(write_nrrd(tmp_path / "both.nrrd", label.astype(np.uint8)))
    found, reply = answer(slicer, "slmsam2", "phantom", {"label_info": info, "prompt_slices": own}, file)
    structures = reply["report"]["structures"]
    assert structures["liver"]["painted"] == structures["spleen"]["painted"] == own["liver"]
    assert max(slices_of(found == 1)) < erased
    assert erased in slices_of(found == 2)


def test_other_segments_are_left_alone(slicer, truth, tmp_path):
    label = painted_slice(truth, PAINTED)
    label[10:20, 10:24, 9] = 2  # the spleen, painted where the liver will be proposed
    liver, _ = scribbles(slicer, tmp_path, label, "liver")
    assert not (liver.astype(bool) & (label == 2)).any()


def test_scribbles_layers_act_as_strokes(slicer, truth, tmp_path):
    """Painted into the two layers, with nothing in the segment itself."""
    label = np.zeros(SHAPE, np.uint8)
    label[27:34, SPLEEN[1], PAINTED] = 4
    label[24:36, 8, PAINTED] = 3
    spleen, reply = scribbles(slicer, tmp_path, label, "spleen")
    assert reply["label_names"] == {"spleen": 1}
    assert reply["report"]["structures"]["spleen"]["painted"] == [PAINTED]
    assert spleen[label == 4].all()
    assert not spleen[label == 3].any()
    assert spleen[:, :, PAINTED].sum() > 7


def test_strokes_correct_the_painted_slice_they_lie_on(slicer, truth, tmp_path):
    painted = painted_slice(truth, PAINTED) == 1
    first, _ = scribbles(slicer, tmp_path, painted, "liver")
    label = first.copy()
    label[10:18, 18, 5] = 3  # a background stroke across the proposal hides what is below it
    second, reply = scribbles(slicer, tmp_path, label, "liver")
    assert reply["report"]["structures"]["liver"]["painted"] == [5, PAINTED]
    assert not second[10:18, 18, 5].any()
    np.testing.assert_array_equal(second[:, :, PAINTED], painted[:, :, PAINTED])
    np.testing.assert_array_equal(second[:, :, PAINTED:], first[:, :, PAINTED:])
    cleared, reply = scribbles(slicer, tmp_path, second, "liver")  # "Clear" was pressed: what they did stays
    np.testing.assert_array_equal(cleared, second)
    assert reply["report"]["structures"]["liver"]["redone"] == []


def test_undo(slicer, truth, tmp_path):
    painted = painted_slice(truth, PAINTED) == 1
    first, _ = scribbles(slicer, tmp_path, painted, "liver")
    for _ in range(2):  # "Update" without a change: nothing to take back
        same, _ = scribbles(slicer, tmp_path, first, "liver")
        np.testing.assert_array_equal(same, first)
    edited = first.copy()
    edited[:, :, 9] = 0
    second, _ = scribbles(slicer, tmp_path, edited, "liver")
    back, reply = scribbles(slicer, tmp_path, second, "liver", undo=True)
    assert reply["undone"] == ["liver"]
    np.testing.assert_array_equal(back, first)
    begin, _ = scribbles(slicer, tmp_path, back, "liver", undo=True)
    np.testing.assert_array_equal(begin, painted)
    label = str(write_nifti(tmp_path / "label.nii.gz", painted.astype(np.uint8)))
    info = [{"name": "liver", "id": 1}]
    status, sentence = refused(slicer, "phantom", {"undo": True, "label_info": info}, label_in=label)
    assert status == 400
    assert "nothing to undo" in sentence


def test_options(slicer, truth, tmp_path):
    painted = painted_slice(truth, PAINTED) == 1
    part, _ = scribbles(slicer, tmp_path, painted, "liver", first_slice="6", last_slice=8)
    assert set(slices_of(part)) <= {6, 7, 8}
    hole = painted.copy()
    hole[14, 18, PAINTED] = False
    options = {"keep_largest": True, "fill_holes": True, "smooth_slices": "true", "start_anew": True}
    clean, _ = scribbles(slicer, tmp_path, hole, "liver", **options)
    np.testing.assert_array_equal(clean[:, :, PAINTED], hole[:, :, PAINTED])
    pieces = sitk.GetArrayFromImage(
        sitk.ConnectedComponent(sitk.GetImageFromArray(clean), True)  # 26-connected
    )
    assert pieces.max() == 1


# ---- SmartEdit -----------------------------------------------------------------------------------------------------


def test_2d_clicks_give_the_slice(slicer):
    array, reply = smart_edit(
        slicer, "slmsam2_slice", [[*LIVER, 5]], [[2, 2, 5], [*SPLEEN, 5]], slice=5, label="liver"
    )
    assert reply["label_names"] == {"liver": 1}
    assert slices_of(array) == [5]
    assert array[(*LIVER, 5)] == 1
    assert array[2, 2, 5] == array[(*SPLEEN, 5)] == 0
    assert reply["axis"] == 2


@pytest.mark.parametrize("roi", [[5, 23, 8, 28, 0, 13], [23, 5, 28, 8, 13, 0], [5, 23, 8, 28, 5, 5]])
def test_2d_box_in_any_order(slicer, roi):
    array, _ = smart_edit(slicer, "slmsam2_slice", [], slice=5, roi=roi)
    assert slices_of(array) == [5]


@pytest.mark.parametrize(
    "place", [2, 415]
)  # of the red view, in mm, which the module sends when "Update" is pressed
def test_2d_box_elsewhere_is_not_drawn_on_the_wrong_slice(slicer, place):
    box = {"label": "liver", "roi": [5, 23, 8, 28, 4, 6], "slice": place}
    says = refusal(slicer, "slmsam2_slice", **box)
    assert says.startswith("Status: 400")
    assert f"The box is on the slices 4 to 6, but slice {place} is asked for" in says
    array, _ = smart_edit(
        slicer, "slmsam2_slice", [[*LIVER, 7]], slice=7, roi=box["roi"]
    )  # a click says where
    assert slices_of(array) == [7]


def test_2d_clicks_correct_what_was_proposed(slicer, truth, tmp_path):
    first, _ = scribbles(slicer, tmp_path, painted_slice(truth, PAINTED) == 1, "liver")
    # a background click alone is enough: there is something to correct
    array, _ = smart_edit(slicer, "slmsam2_slice", [], [[*LIVER, 5]], slice=5)
    assert array[(*LIVER, 5)] == 0
    # the fixed slice goes back into the segment, and counts as a correction at the next Update
    fixed = first.copy()
    fixed[:, :, 5] = array[:, :, 5]
    _, reply = scribbles(slicer, tmp_path, fixed, "liver")
    assert reply["report"]["structures"]["liver"]["painted"] == [5, PAINTED]


def test_3d_clicks_are_propagated(slicer):
    array, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], label="liver")
    facts = reply["report"]["structures"]["liver"]
    assert array[(*LIVER, 7)] > 0
    assert facts["found"] + facts["empty"] > 1  # slices that were gone to
    assert facts["painted"] == [7]
    assert 0 <= facts["confidence"]["7"] <= 1
    second, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], [[*LIVER, 9]], label="liver")
    assert reply["report"]["structures"]["liver"]["painted"] == [7, 9]
    assert second[(*LIVER, 9)] == 0
    np.testing.assert_array_equal(second[:, :, :8], array[:, :, :8])
    third, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], label="liver")  # the click is deleted
    np.testing.assert_array_equal(third, array)
    assert reply["report"]["structures"]["liver"]["redone"] == []


def test_3d_clicks_stand_beside_painted_slices_until_a_new_start(slicer, truth, tmp_path):
    painted = painted_slice(truth, PAINTED) == 1
    scribbles(slicer, tmp_path, painted, "liver")
    array, reply = smart_edit(slicer, "slmsam2_points", [], [[*LIVER, 10]])
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 10]
    np.testing.assert_array_equal(array[:, :, PAINTED], painted[:, :, PAINTED])
    assert array[(*LIVER, 10)] == 0
    # the module sends this whenever another segment is selected: no reason to lose what was painted
    _, reply = smart_edit(slicer, "slmsam2_points", [], [[*LIVER, 10]], reset_state=True)
    assert reply["report"]["structures"]["liver"]["painted"] == [PAINTED, 10]
    _, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 10]], start_anew=True)
    assert reply["report"]["structures"]["liver"]["painted"] == [10]


def test_a_3d_box_says_where_to_stay(slicer):
    array, reply = smart_edit(slicer, "slmsam2_points", [], roi=[23, 5, 8, 28, 9, 4])
    ((drawn,), sure) = (reply["report"]["structures"]["liver"][fact] for fact in ("painted", "confidence"))
    assert 4 <= drawn <= 9
    assert sure[str(drawn)] < 0.6  # a box around all of it fits few of its slices
    inside = np.zeros(array.shape, bool)
    inside[5:24, 8:29, 4:10] = True
    assert array.any()
    assert not array[~inside].any()


def test_clicks_on_an_image_that_is_stored_turned(slicer):
    """(i, j, k) there are anterior, inferior and right; the point must lie in what comes back."""
    array, reply = smart_edit(slicer, "slmsam2_points", [[14, 18, 7]], image="turned", axis="2")
    assert array.shape == SHAPE
    assert array[14, 18, 7] == 1
    assert reply["axis"] == 2


def refusal(client, model, image="phantom", **params):
    with pytest.raises(Exception, match=r"Status: \d+") as caught:
        client.infer(model, image, params)
    return caught.value.msg


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"label": "liver", "foreground": [], "background": []}, "Click on it"),
        ({"label": "liver", "background": [[1, 1, 5]], "slice": 5}, "Click on it"),
        ({"label": "liver", "foreground": [[1, 1, 99]]}, "outside the image"),
        ({"label": "liver", "foreground": [[1, 1]]}, "list of points"),
        ({"label": "liver", "foreground": [[1, "x", 2]]}, "numbers of voxels"),
        ({"label": "liver", "foreground": "[[1,"}, "not understood"),
        ({"label": "liver", "roi": [1, 2, 3]}, "i0, i1, j0, j1, k0, k1"),
        ({"label": "liver", "roi": [1, 2, 3, 4, 50, 60]}, "outside the image"),
        ({"label": "liver", "foreground": [[9, 9, 3]], "undo": "maybe"}, "true or false"),
        ({"structures": ["liver", "spleen"], "foreground": [[9, 9, 3]]}, "one structure at a time"),
    ],
)
def test_clicks_that_cannot_be_served(slicer, params, says):
    message = refusal(slicer, "slmsam2_points", **params)
    assert message.startswith("Status: 400")
    assert says in message


def test_2d_needs_a_slice(slicer):
    assert "which slice" in refusal(slicer, "slmsam2_slice", label="liver", roi=[1, 5, 1, 5, 3, 3])
    assert "There is no slice 99" in refusal(slicer, "slmsam2_slice", label="liver", slice=99)


def test_undo_of_clicks(slicer):
    first, _ = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]])
    smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], [[*LIVER, 9]])
    back, reply = smart_edit(slicer, "slmsam2_points", [[*LIVER, 7]], undo=True)
    np.testing.assert_array_equal(back, first)
    assert reply["label_names"] == {"liver": 1}


# ---- Auto Segmentation ---------------------------------------------------------------------------------------------


def test_auto_segmentation_goes_on_with_the_saved_label(slicer, truth, tmp_path):
    assert "none is saved" in refusal(slicer, "slmsam2_saved", image="turned")
    painted = painted_slice(truth, PAINTED)
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    info = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]
    slicer.save_label("saved", str(write_nifti(label, painted)), tag="panel", params={"label_info": info})
    array, reply = answer(
        slicer, "slmsam2_saved", "saved", panel_parameters(slicer, "slmsam2_saved") | {"tag": "panel"}
    )
    assert reply["label_names"] == {"liver": 1, "spleen": 2}
    np.testing.assert_array_equal(array[:, :, PAINTED], painted[:, :, PAINTED])
    assert len(slices_of(array)) > 4
