"""What may become the final label of an image, and what may not take the place of one."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from monailabel.interfaces.exception import ImageNotFoundException

from slmsam2.errors import GridError, PromptError, VolumeError
from slmsam2.server.datastore.finals import check_final
from slmsam2.server.datastore.folder import FolderDatastore

pytestmark = pytest.mark.unit

SHAPE = (6, 5, 4)
LIVER, SPLEEN = {"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}


def label_with(*values):
    label = np.zeros(SHAPE, np.uint8)
    label.flat[: len(values)] = values
    return label


def write(path, label):
    if path.suffix == ".bin":
        path.write_bytes(label.tobytes(order="F"))
    else:
        nib.save(nib.Nifti1Image(label, np.eye(4)), path)
    return path


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    write(folder / "a.nii.gz", np.ones(SHAPE, np.int16))
    return FolderDatastore(str(folder))


@pytest.fixture
def check(store, tmp_path):
    """Check a label with these values."""

    def check(*values, info=(), name="new.nii.gz", image="a"):
        path = write(tmp_path / name, label_with(*values))
        check_final(store, image, path, {"label_info": list(info)})

    return check


@pytest.fixture
def save(store, tmp_path):
    def save(*values, name="saved.nii.gz", tag="final"):
        store.save_label("a", str(write(tmp_path / name, label_with(*values))), tag, {})

    return save


@pytest.mark.parametrize("name", ["new.nii.gz", "new.bin"])
@pytest.mark.parametrize("saved", ["saved.nii.gz", "saved.bin"])
def test_an_empty_label_takes_the_place_of_none_with_something_in_it(check, save, name, saved):
    check(name=name)  # an image without the structure
    save(name=saved)
    check(name=name)
    save(1, name=saved)
    with pytest.raises(PromptError, match=r"The label is empty: nothing was saved\. a has a final label"):
        check(name=name)
    check(2, name=name)


def test_other_tags_say_nothing_about_the_final_one(check, save):
    save(1, tag="original")
    check()


def test_a_saved_label_that_cannot_be_read_protects_nothing(check, store, tmp_path):
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(b"text")
    store.save_label("a", str(damaged), "final", {})
    check()


@pytest.mark.parametrize("name", ["new.nii.gz", "new.bin"])
def test_values_that_the_client_does_not_name(check, name):
    with pytest.raises(PromptError, match=r"values 1, 7, but label_info names only liver \(1\).*what 7 is"):
        check(1, 7, info=[LIVER], name=name)


@pytest.mark.parametrize(
    ("values", "info"),
    [
        ((1, 7), []),  # the stock client sends no names
        ((1, 7), [{"name": "background", "idx": 0}]),
        ((1, 7), ["liver", {"idx": 1}]),  # no entry is complete
        ((1,), [LIVER, SPLEEN]),
        ((), [LIVER, SPLEEN]),
        ((1, 2), [LIVER, {"name": "spleen", "idx": 4}]),  # 3D Slicer with segments left out between
        ((1, 2), [LIVER, LIVER | {"idx": 2}]),  # two segments of one name
        ((1, 2), [LIVER, {"name": "foreground_scribbles", "id": 2}]),
        ((1, 7), {"liver": 1}),
    ],
)
def test_what_is_named_well_enough(check, values, info):
    check(*values, info=info)


def test_a_long_list_is_cut_short(check):
    with pytest.raises(PromptError) as refused:
        check(*range(1, 101), info=[LIVER])
    assert "and 88 more" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("new.nii.gz", b"this is no label"),
        ("new.nii.gz", gzip.compress(b"nor is this", mtime=0)),
        ("new.nrrd", b"NRRD0004\nnonsense"),
        ("new.bin", bytes(7)),
    ],
)
def test_what_cannot_be_read(store, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="The label was not saved"):
        check_final(store, "a", path, {})


def on_grid(first=(0, 0, 0), step=1.0, shape=SHAPE):
    """A label that is painted all over, on a grid that begins at a voxel of the image."""
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = first
    return nib.Nifti1Image(np.ones(shape, np.uint8), affine)


@pytest.mark.parametrize(
    ("label", "refused"),
    [
        (on_grid((900, 900, 900), shape=(9, 9, 9)), "do not share a painted voxel"),
        (on_grid((900, 900, 900)), "the geometry of one of them was lost"),
        (on_grid((4, 0, 0)), "the geometry of one of them was lost"),
        (on_grid((4, 0, 0), shape=(7, 5, 4)), "Most of what is painted in the label"),
        (on_grid((0.3, 0.2, 0)), None),  # not of its voxels, but on it
        (on_grid((1, 1, 1), shape=(4, 3, 2)), None),  # a part
        (on_grid((-5, -5, -5), step=2.0, shape=(9, 9, 9)), None),  # more than the image
        (nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0])), "was lost"),
        (nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0])), None),  # empty
    ],
)
def test_a_label_that_does_not_lie_on_its_image(store, tmp_path, label, refused):
    nib.save(label, tmp_path / "new.nii.gz")
    if refused is None:
        check_final(store, "a", tmp_path / "new.nii.gz", {})
        return
    with pytest.raises(GridError, match=f"The label was not saved.*{refused}"):
        check_final(store, "a", tmp_path / "new.nii.gz", {})


def test_where_the_image_cannot_be_read_nothing_is_said_of_the_place(store, tmp_path, check):
    (tmp_path / "studies" / "a.nii.gz").write_bytes(b"no image")
    check(1)


def test_an_image_that_is_not_there(check):
    with pytest.raises(ImageNotFoundException):
        check(1, image="nobody")
