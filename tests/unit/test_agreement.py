"""How far people agree who labelled the same image."""

import csv
import importlib
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from slmsam2.server.datastore.folder import FolderDatastore

pytestmark = pytest.mark.unit

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def cube(value, first, last):
    """So many slices of a structure; 8 x 8 x 10 voxels, two mm thick."""
    array = np.zeros((8, 8, 10), np.uint8)
    array[2:6, 2:6, first:last] = value
    return array


@pytest.fixture
def studies(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("a", "b"):
        nib.save(nib.Nifti1Image(np.ones((8, 8, 10), np.int16), AFFINE), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def save(studies, tmp_path):
    store = FolderDatastore(str(studies), extensions=["*.nii.gz"], auto_reload=False)

    def save_label(image, array, by, names, tag="final", affine=AFFINE):
        path = tmp_path / "label.nii.gz"
        nib.save(nib.Nifti1Image(array, affine), path)
        info = [{"name": name, "idx": value} for name, value in names.items()]
        store.save_label(image, str(path), tag, {"client_id": by, "label_info": info})

    return save_label


@pytest.fixture
def run(monkeypatch, capsys, studies, tmp_path):
    """Gives the exit status, what is printed, and the rows of the table."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def runs():
        output = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["agreement", "--studies", str(studies), "--output", str(output)])
        status = importlib.import_module("agreement").main()
        table = output / "agreement.csv"
        rows = list(csv.DictReader(table.open())) if table.exists() else []
        return status, capsys.readouterr(), rows

    return runs


def test_pairs_by_name_whatever_their_values_and_grids(save, run):
    save("a", cube(1, 2, 6) + cube(2, 6, 9), "ann", {"liver": 1, "spleen": 2})
    higher = AFFINE.copy()
    higher[2, 3] = 2  # mm, a slice
    save("a", cube(7, 2, 8)[:, :, 1:], "bob", {"liver": 7}, affine=higher)
    save("a", cube(1, 0, 1), "server", {"liver": 1}, tag="original")
    save("b", cube(1, 2, 6), "ann", {"liver": 1})
    status, told, (row,) = run()
    assert status == 0
    assert (row["image"], row["structure"], row["person"], row["other"]) == ("a", "liver", "ann", "bob")
    assert float(row["dice"]) == 0.8
    assert float(row["hd95"]) == 4.0
    assert [float(row[key]) for key in ("millilitres", "other_millilitres")] == [0.128, 0.192]
    assert "| liver | 1 | 0.800 | 4.0 | 0.800, a, ann and bob |" in told.out


def test_of_each_person_the_newest_counts_and_nobody_is_somebody_each_time(save, run):
    save("a", cube(1, 2, 6), "ann", {"liver": 1})
    save("a", cube(1, 2, 4), "bob", {"liver": 1})
    save("a", cube(1, 2, 5), "ann", {"liver": 1}, tag="version_1")
    save("a", cube(1, 2, 5), None, {"liver": 1}, tag="version_2")
    _, told, rows = run()
    assert sorted((row["person"], row["other"]) for row in rows) == [
        ("ann", "bob"),
        ("ann", "version_2"),
        ("bob", "version_2"),
    ]
    assert "| liver | 3 | 0.867 |" in told.out


def test_without_two_people_it_says_so(save, run, studies):
    save("a", cube(1, 2, 6), "ann", {"liver": 1})
    status, told, _ = run()
    assert (status, "no two people" in told.err) == (2, True)


def test_a_label_that_cannot_be_read_leaves_out_its_image(save, run, studies):
    for image in ("a", "b"):
        save(image, cube(1, 2, 6), "ann", {"liver": 1})
        save(image, cube(1, 2, 5), "bob", {"liver": 1})
    (studies / "labels" / "final" / "a.nii.gz").write_bytes(b"text")
    status, told, rows = run()
    assert (status, [row["image"] for row in rows]) == (0, ["b"])
    assert "a is left out" in told.err
