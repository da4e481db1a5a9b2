"""A structure beside the other one of its pair, and its neighbours in a series, by the stock client on real CT."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from monailabel.client import MONAILabelClient
from server_process import running_server
from server_studies import write_nifti

from slmsam2.masks import largest_slice
from slmsam2.metrics import dice
from slmsam2.volume import default_axis, read_label

pytestmark = pytest.mark.server

CT = Path(__file__).resolve().parents[2] / "data" / "ts_ct_abdomen_3mm"


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    shutil.copy(CT / "image.nii.gz", folder / "abdomen.nii.gz")
    return folder


@pytest.fixture(scope="module", params=[(), ("--conf", "looks", "false")], ids=["as_it_is", "switched_off"])
def server(request, studies, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server"), studies, *request.param) as server:
        server.switched_off = bool(request.param)
        yield server


@pytest.fixture
def propagate(server, tmp_path, request):
    """Somebody who paints the largest slice of one structure, where others are in the label already, as 3D Slicer's
    Scribbles panel sends it: Dice, and the report."""
    reference = read_label(CT / "label.nii.gz")
    values = json.loads((CT / "labels.json").read_text())
    axis = default_axis(reference)

    def run(structure, done=(), client="anna", called=lambda name: name):
        label = np.zeros(reference.shape, np.uint8)
        for number, name in enumerate(done, start=2):
            label[reference.array == values[name]] = number
        truth = reference.array == values[structure]
        index = largest_slice(truth, axis)
        painted = (slice(None),) * axis + (index,)
        label[painted][truth[painted]] = 1
        path = write_nifti(tmp_path / "label.nii.gz", label, reference.affine)
        info = [{"name": called(name), "id": n} for n, name in enumerate([structure, *done], start=1)]
        own = MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id=f"{request.node.name} {client}")
        params = {"label_info": info, "selected_label_name": called(structure), "result_extension": ".nii.gz"}
        file, reply = own.infer("slmsam2", "abdomen", params, label_in=str(path))
        return dice(read_label(file).array == 1, truth), reply["report"]

    return run


@pytest.mark.parametrize(
    ("structure", "done", "gain"),
    [
        ("gluteus_medius_right", ["gluteus_medius_left"], 0.02),
        ("femur_right", ["femur_left"], 0.02),  # both are cut off by the image
        ("vertebrae_L1", ["vertebrae_L2", "vertebrae_L3", "vertebrae_L4"], 0.05),
    ],
)
def test_what_is_done_helps_with_its_like(server, propagate, structure, done, gain):
    alone, report = propagate(structure)
    assert report["shapes"] == []
    beside, report = propagate(structure, done, client="berta")
    if server.switched_off:
        assert report["shapes"] == []
        assert beside == pytest.approx(alone, abs=0.003)  # nothing but the voxels of others are kept free
    else:
        assert report["shapes"] == [structure]
        assert beside > alone + gain


def test_what_is_done_in_the_meantime_counts_from_then_on(server, propagate):
    _, report = propagate("gluteus_medius_right")
    assert report["shapes"] == []
    _, report = propagate("gluteus_medius_right", ["gluteus_medius_left"])
    assert report["shapes"] == ([] if server.switched_off else ["gluteus_medius_right"])
    _, report = propagate("gluteus_medius_right")
    assert report["shapes"] == []


def test_names_decide(server, propagate):
    alone, _ = propagate("gluteus_medius_right")
    named = {"gluteus_medius_right": "Segment_1", "gluteus_medius_left": "Segment_2"}
    beside, report = propagate("gluteus_medius_right", ["gluteus_medius_left"], "berta", named.get)
    assert report["shapes"] == []
    assert beside == alone
