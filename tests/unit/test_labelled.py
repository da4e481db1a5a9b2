"""Submitted labels: which slices can be trusted, what the values are called, when content has changed."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from slmsam2.errors import GridError
from slmsam2.prompts import named_values
from slmsam2.training.kept_labels import LabelStore
from slmsam2.training.labelled import CaseLoader, Submission, known_slices, read_case, read_cases

pytestmark = pytest.mark.unit


def areas(**slices):
    found = np.zeros(20, int)
    for name, area in slices.items():
        found[int(name[1:])] = area
    return found


def test_a_structure_drawn_through_is_known_to_end():
    tapering = areas(s5=10, s6=40, s7=60, s8=50, s9=20)
    assert known_slices(tapering).all()


def test_where_painting_stopped_nothing_is_known():
    cut_off = areas(s5=10, s6=40, s7=60, s8=60)
    known = known_slices(cut_off)
    assert known[:9].all()
    assert not known[9:].any()


def test_single_slices_tell_about_themselves_only():
    assert np.flatnonzero(known_slices(areas(s3=50, s9=60, s15=40))).tolist() == [3, 9, 15]
    assert np.flatnonzero(known_slices(areas(s4=50))).tolist() == [4]


def test_a_gap_between_parts_that_were_drawn_through_is_known():
    known = known_slices(areas(s2=5, s3=20, s4=5, s9=5, s10=30, s11=5))
    assert known.all()


def test_what_the_user_vouches_for_counts():
    known = known_slices(areas(s5=60, s6=60, s7=60), vouched=[4, 5, 6, 7, 99])
    assert np.flatnonzero(known).tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        ({"liver": 1, "spleen": 2}, [1, 2], {"liver": 1, "spleen": 2}),
        ({"liver": 2, "spleen": 5}, [1, 2], {"liver": 1, "spleen": 2}),  # 3D Slicer's own counting
        ({"liver": 1, "spleen": 2, "kidney": 3}, [3], {"kidney": 3}),
        ({"liver": 1}, [1, 4], {"liver": 1, "structure_4": 4}),
        ({}, [7], {"structure_7": 7}),
        ({"structure_2": 1}, [1, 2], {"structure_2": 1, "structure_2_": 2}),
        (
            {"structure_2": 1, "structure_2_": 3},
            [1, 2, 3],
            {"structure_2": 1, "structure_2__": 2, "structure_2_": 3},
        ),
        ({"structure_2": 1}, [2], {"structure_2_": 2}),
    ],
)
def test_names_are_checked_against_the_values(names, values, expected):
    assert named_values(names, np.array([0, *values])) == expected


@pytest.fixture
def submission(tmp_path):
    image = np.random.default_rng(0).normal(size=(12, 12, 8)).astype(np.float32)
    label = np.zeros(image.shape, np.uint8)
    label[3:8, 3:8, 2:6] = 1
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(label, np.eye(4)), tmp_path / "label.nii.gz")
    return Submission("a", tmp_path / "image.nii.gz", tmp_path / "label.nii.gz", {"liver": 1})


def test_the_digest_follows_the_content_and_not_the_file(submission):
    first = read_case(submission)
    label = nib.load(submission.label)
    voxels = np.asarray(label.dataobj)
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), label.affine), submission.label)
    assert read_case(submission).digest == first.digest
    voxels[5, 5, 5] = 0
    nib.save(nib.Nifti1Image(voxels, label.affine), submission.label)
    assert read_case(submission).digest != first.digest


def test_images_with_the_same_label_are_told_apart(submission, tmp_path):
    other = Submission("b", tmp_path / "b.nii.gz", submission.label, submission.names)
    nib.save(nib.Nifti1Image(np.ones((12, 12, 8), np.float32), np.eye(4)), other.image)
    load = CaseLoader()
    cases = [load.read(submission), read_case(other)]
    assert cases[0].digest == cases[1].digest
    assert [float(load(case)[0].array.std()) > 0 for case in (*cases, cases[0])] == [True, False, True]


def test_a_label_that_is_kept_stays_what_it_was(submission, tmp_path):
    """Saved again, deleted, or its image replaced while it is learnt from."""
    with LabelStore(tmp_path / "kept") as store:
        cases, _ = read_cases([submission, replace(submission, image_id="b")], store)
        assert not any((tmp_path / "kept").iterdir())  # nothing is left of a process that is killed
        nib.save(nib.Nifti1Image(np.full((12, 12, 8), 2, np.uint8), np.eye(4)), submission.label)
        areas = [np.count_nonzero(CaseLoader()(case)[1], axis=(0, 1)).tolist() for case in cases]
        assert areas == [[0, 0, 25, 25, 25, 25, 0, 0]] * 2
        submission.label.unlink()
        assert CaseLoader()(cases[0])[1].sum() == 100
        nib.save(nib.Nifti1Image(np.zeros((12, 12, 9), np.float32), np.eye(4)), submission.image)
        with pytest.raises(GridError, match="The image a was replaced by one of another shape"):
            CaseLoader()(cases[0])


def test_a_label_on_a_cropped_grid_is_brought_to_the_image(submission):
    whole = read_case(submission).structures["liver"]
    label = nib.load(submission.label)
    affine = label.affine.copy()
    affine[2, 3] = 2
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj)[:, :, 2:6], affine), submission.label)
    assert read_case(submission).structures["liver"].areas.tolist() == whole.areas.tolist()


def test_unusable_labels_are_named_and_left_out(submission, tmp_path):
    (tmp_path / "broken.nii.gz").write_text("no label")
    nib.save(nib.Nifti1Image(np.zeros((12, 12, 8), np.uint8), np.eye(4)), tmp_path / "empty.nii.gz")
    broken = Submission("b", submission.image, tmp_path / "broken.nii.gz")
    empty = Submission("c", submission.image, tmp_path / "empty.nii.gz")
    cases, unusable = read_cases([submission, broken, empty])
    assert [case.image_id for case in cases] == ["a"]
    assert set(unusable) == {"b", "c"}
