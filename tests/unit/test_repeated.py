"""Segments of one name in a label that is saved."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from slmsam2.server.datastore.repeated import join_repeated

pytestmark = pytest.mark.unit

AFFINE = np.array([[0, 2, 0, -7], [-3, 0, 0, 5], [0, 0, 4, 1], [0, 0, 0, 1.0]])


@pytest.fixture
def join(tmp_path):
    """Values of the label afterwards, and what is saved with it."""

    def join(values, entries, name="label.nii.gz"):
        label = np.zeros((6, 5, 4), np.int16)
        label.flat[: len(values)] = values
        nifti, path = tmp_path / "label.nii.gz", tmp_path / name
        nib.save(nib.Nifti1Image(label, AFFINE), nifti)
        if nifti != path:
            sitk.WriteImage(sitk.ReadImage(str(nifti)), str(path))
        before = path.read_bytes()
        info = join_repeated(path, {"label_info": entries, "model": "m"})
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
        return array.flat[: len(values)].tolist(), info, path, path.read_bytes() == before

    return join


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
def test_they_become_one(join, name):
    segments = [("liver", 1), ("spleen", 2), ("liver", 3)]
    entries = [{"name": name, "idx": value} for name, value in segments]
    values, info, path, _ = join([1, 3, 2, 3, 0], entries, name)
    assert values == [1, 1, 2, 1, 0]
    assert info == {
        "label_info": [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}],
        "model": "m",
    }
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(image.GetSpacing(), (3, 2, 4))
    np.testing.assert_allclose(image.GetOrigin(), (7, -5, 1))


def test_the_order_counts_where_the_numbers_skip_segments(join):
    """3D Slicer leaves out its scribbles layers, and counts them all the same."""
    segments = [("kidney", 2), ("liver", 4), ("liver", 5), ("spleen", 6)]
    values, info, _, _ = join([1, 2, 3, 4], [{"name": name, "idx": value} for name, value in segments])
    assert values == [1, 2, 2, 4]
    assert info["label_info"] == [
        {"name": "kidney", "idx": 1},
        {"name": "liver", "idx": 2},
        {"name": "spleen", "idx": 4},
    ]


@pytest.mark.parametrize(
    "entries",
    [
        [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}],
        [],
        None,
        ["liver", "liver"],
        [{"name": "a"}] * 2,
    ],
)
def test_other_labels_stay_as_they_are(join, entries):
    values, info, _, same = join([1, 2, 0], entries)
    assert (values, same) == ([1, 2, 0], True)
    assert info["label_info"] == entries
