"""From requests to jobs for the engine."""

from dataclasses import replace

import numpy as np
import pytest

from slmsam2.engine.numbering import in_range
from slmsam2.engine.settings import Settings
from slmsam2.errors import PromptError
from slmsam2.prompts import Known, Marks
from slmsam2.server.requests.assembly import Request, assemble
from slmsam2.server.requests.painted import Painted, nothing_painted
from slmsam2.server.requests.parameters import parse_parameters
from slmsam2.server.requests.points import parse_clicks
from slmsam2.volume import SliceView, Volume

pytestmark = pytest.mark.unit

SHAPE = (20, 20, 9)


@pytest.fixture
def image():
    return Volume(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), np.eye(4))


def job_of(image, painted, **request):
    parameters = parse_parameters(request)
    return assemble(Request(image, painted, parse_clicks(request, SHAPE), False, parameters, {}))[0]


@pytest.mark.parametrize(
    ("named", "axis", "slices", "across"),
    [
        ({"0": [8], "2": [4]}, 2, [4], {"0": [8]}),  # as many along each: the image's own
        ({"0": [8, 9], "2": [4]}, 0, [8, 9], {"2": [4]}),
        ({"0": [8], "2": []}, 0, [8], {}),
    ],
)
def test_slices_named_along_several_axes(named, axis, slices, across):
    image = Volume(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), np.diag([1.0, 1.0, 3.0, 1.0]))
    label = np.zeros(SHAPE, np.int32)
    label[6:11, 6:11, 3:7] = 1
    job = job_of(image, Painted(label, {"liver": 1}, {"liver": 1}, True), prompt_slices={"liver": named})
    assert job.view.axis == axis
    assert sorted(map(job.view.stored_index, job.prompts[1])) == slices
    found = {
        str(job.view.order[dimension]): [job.view.stored_index(index, dimension) for index in planes]
        for dimension, planes in job.across.get(1, {}).items()
    }
    assert found == across


def test_no_slice_is_named_along_the_axis_asked_for(image):
    label = np.ones(SHAPE, np.int32)
    painted = Painted(label, {"liver": 1}, {"liver": 1}, True)
    with pytest.raises(PromptError, match="names none of liver along axis 2"):
        job_of(image, painted, axis=2, prompt_slices={"liver": {"0": [8]}})


def test_a_box_over_several_slices_is_on_the_middle_one(image):
    job = job_of(image, nothing_painted(image, "liver"), roi=[5, 12, 5, 12, 2, 6])
    ((index, marks),) = job.prompts[1].items()
    assert job.view.stored_index(index) == 4
    assert marks.box is not None
    assert marks.loose
    assert job.within == {1: marks.box}
    assert {job.view.stored_index(job.settings.first), job.view.stored_index(job.settings.last)} == {2, 6}


def test_on_a_painted_slice_a_box_over_several_says_only_where_to_stay(image):
    label = np.zeros(SHAPE, np.int32)
    label[6:11, 6:11, 4] = 1
    painted = Painted(label, {"liver": 1}, {"liver": 1}, True)
    ((_, mask),) = job_of(image, painted, roi=[5, 12, 5, 12, 2, 6]).prompts[1].items()
    assert isinstance(mask, np.ndarray)
    assert mask.sum() == 25
    ((_, marks),) = (
        job_of(image, painted, roi=[5, 12, 5, 12, 2, 6], foreground=[[12, 12, 4]]).prompts[1].items()
    )
    assert isinstance(marks, Marks)
    assert (marks.box, marks.base.sum()) == (None, 25)


def test_a_box_on_one_slice_keeps_the_others_free(image):
    job = job_of(image, nothing_painted(image, "liver"), roi=[5, 12, 5, 12, 4, 4])
    ((_, marks),) = job.prompts[1].items()
    assert (marks.loose, job.within) == (False, {})


@pytest.mark.parametrize("upward", [1.0, -1.0])
def test_a_range_without_a_painted_slice_is_refused_in_the_numbers_that_were_sent(upward):
    view = SliceView(SHAPE, np.diag([1.0, 1, upward, 1]), 2)
    there, nothing = np.ones(view.slice_shape, bool), np.zeros(view.slice_shape, bool)
    prompts = {view.stack_index(2): there, view.stack_index(6): nothing, view.stack_index(7): there}
    low, high = sorted((view.stack_index(3), view.stack_index(6)))
    with pytest.raises(PromptError, match=r"slices 3 to 6 .* liver is painted on 2, 7 only"):
        in_range("liver", prompts, Settings(first=low, last=high), view)
    low, high = sorted((view.stack_index(0), view.stack_index(6)))
    assert sorted(
        map(view.stored_index, in_range("liver", prompts, Settings(first=low, last=high), view))
    ) == [2, 6]


def test_what_lies_over_a_proposal_hides_it_and_corrects_nothing(image):
    view = SliceView(SHAPE, image.affine, 2)
    label = np.zeros(SHAPE, np.uint8)
    label[5:15, 5:15, 1:8] = 1
    proposed = view.to_stack(label == 1).copy()
    known = {"liver": Known(axis=2, given=proposed, returned=proposed, prompts={4: proposed[4]}, plain=True)}
    names = {"liver": 1, "tumour": 2}
    label[7:9, 7:9, 5], label[10, 10, 6] = 2, 0  # painted over on slice 5, corrected on slice 6
    strokes = np.zeros((2, *SHAPE), bool)
    strokes[0, 12, 12, 3] = True
    label[12, 12, 3] = 0
    parameters = parse_parameters({"selected_label_name": "tumour"})
    painted = Painted(label, names, names, False, tuple(strokes))
    job, *_ = assemble(Request(image, painted, None, False, parameters, known))
    assert sorted(job.prompts[1]) == [4, 6]
    assert job.prompts[1][6].sum() == 99


def test_what_is_given_outside_of_the_range_is_told_beside_the_job(image):
    label = np.zeros(SHAPE, np.int32)
    label[5:15, 5:15, [2, 6]] = 1
    parameters = parse_parameters({"first_slice": 4})
    painted = Painted(label, {"liver": 1}, {"liver": 1}, True)
    job, _, given = assemble(Request(image, painted, None, False, parameters, {}))
    assert (sorted(job.prompts[1]), sorted(given["liver"].slices)) == ([6], [2, 6])


@pytest.mark.parametrize(("roi", "stays"), [([], range(1, 8)), ([5, 12, 5, 12, 6, 8], [2])])
def test_the_label_of_clicks_is_what_was_sent_back_before(image, roi, stays):
    """Beside a box over several slices, as far as it was painted."""
    returned = np.zeros((9, 20, 20), bool)
    returned[1:8, 5:15, 5:15] = True
    known = {"liver": Known(2, returned, returned, {2: returned[2], 6: Marks(*returned[[6, 0]])})}
    request = {"foreground": [[9, 9, 7]], "roi": roi}
    clicks, parameters = parse_clicks(request, SHAPE), parse_parameters(request)
    painted = nothing_painted(image, "liver")
    job, *_ = assemble(Request(image, painted, clicks, False, parameters, known))
    assert np.flatnonzero(job.given.any(axis=(1, 2))).tolist() == [*stays]
    assert not painted.label.any()


def test_what_was_sent_back_stays_between_the_slices_that_are_given_as_they_were(image):
    def square(side):
        mask = np.zeros(SHAPE[:2], bool)
        mask[5 : 5 + side, 5:10] = True
        return mask

    returned = np.zeros((SHAPE[2], *SHAPE[:2]), bool)
    returned[:, 5:9, 5:10] = True
    known = Known(
        axis=2,
        given=returned,
        returned=returned,
        prompts={2: square(5), 4: square(4), 7: square(3)},
        plain=True,
    )

    def kept(prompts):
        view = SliceView(SHAPE, image.affine, 2)
        label = np.zeros(SHAPE, np.int32)
        for index, mask in prompts.items():
            view.to_stack(label)[index][mask] = 1
        slices = {"liver": {"2": [view.stored_index(index) for index in prompts]}}
        painted = Painted(label, {"liver": 1}, {"liver": 1}, True)
        parameters = parse_parameters({"selected_label_name": "liver"})
        request = Request(
            image, painted, None, False, parameters, {"liver": replace(known, returned=~returned)}
        )
        job = assemble(request)[0]
        assert sorted(job.prompts[1]) == sorted(slices["liver"]["2"])
        return sorted(job.before[1])

    same = {2: square(5), 4: square(4), 7: square(3)}
    assert kept(same) == list(range(9))
    assert kept({**same, 5: square(2)}) == [0, 1, 2, 3, 4, 7, 8]  # one more
    assert kept({2: square(5), 7: square(3)}) == [0, 1, 2, 7, 8]  # one less
    assert kept({**same, 7: square(1)}) == [0, 1, 2, 3, 4]  # another one
