"""Values of structures beside the type of the label file that they come with."""

import nibabel as nib
import numpy as np
import pytest

from slmsam2.errors import PromptError
from slmsam2.server.requests.painted import read_painted
from slmsam2.server.requests.parameters import parse_parameters
from slmsam2.server.requests.study import Study
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit


@pytest.fixture
def read(tmp_path):
    """Read a uint8 label with the values 1 and 5, sent with these entries of ``label_info``."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5, 2:5, 3], label[2:5, 5:7, 3] = 5, 1
    path = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(label, np.eye(4)), path)

    def read_it(*entries, selected=None):
        info = [{"name": name, "id": value} for name, value in entries]
        parameters = parse_parameters({"label_info": info, "selected_label_name": selected})
        image = Volume(np.zeros((8, 8, 8), np.int16), np.eye(4))
        return read_painted(path, Study("x", path, path), image, parameters, empty=True)

    return read_it


@pytest.mark.parametrize("value", [255, 300, 70_000, 2**31 - 1])
def test_the_label_can_hold_the_value_of_a_structure_that_is_only_clicked_on(read, value):
    painted = read(("liver", 1), ("tumour", value), selected="tumour")
    assert painted.structures == {"tumour": value}
    assert np.iinfo(painted.label.dtype).max >= value
    assert np.unique(painted.label).tolist() == [0, 1, 5]


def test_a_value_that_no_label_can_hold_is_refused(read):
    with pytest.raises(PromptError, match="2147483648 of 'tumour' is too large"):
        read(("tumour", 2**31), selected="tumour")


def test_of_two_entries_with_one_value_the_first_names_it(read):
    painted = read(("a", 1), ("b", 1))
    assert painted.names == {"a": 1, "structure_5": 5}


def test_a_second_segment_of_a_name_becomes_one_with_the_first_whatever_its_value(read):
    painted = read(("liver", 300), ("liver", 5))
    assert painted.names == {"structure_1": 1, "liver": 300}
    assert (painted.label == 300).sum() == 9


def test_blanks_belong_to_a_name(read):
    """3D Slicer takes value 1 of what it gets into the selected segment, whatever that is called."""
    painted = read(("liver", 1), ("spleen ", 5), selected="spleen ")
    assert (painted.structures, painted.alone) == ({"spleen ": 5}, True)
