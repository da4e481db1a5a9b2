"""Painted slices go in, the labelled volume comes out: by every way in, in every file format."""

import gzip
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from server_studies import AFFINE, TURNED, painted_slice, write_nifti, write_nrrd

pytestmark = pytest.mark.server

PAINTED = 7  # the slice the user painted
INFO = [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}]


def read(path):
    """Array (I, J, K) and affine RAS+ of a result."""
    if path.endswith(".nrrd"):
        image = sitk.ReadImage(path)
        direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        lps = np.vstack([np.column_stack([direction, image.GetOrigin()]), [0, 0, 0, 1]])
        return sitk.GetArrayFromImage(image).T, np.diag([-1, -1, 1, 1]) @ lps
    image = nib.load(path)
    return np.asarray(image.dataobj), image.affine


def check(result, params, painted, affine=AFFINE, names=None):
    """The result lies on the image's grid and holds the painted slice bit for bit."""
    array, found = read(result)
    np.testing.assert_allclose(found, affine, atol=1e-5)
    assert array.shape == painted.shape
    np.testing.assert_array_equal(array[:, :, PAINTED], painted[:, :, PAINTED])
    assert set(np.unique(array)) <= {0, *params["label_names"].values()}
    assert params["label_names"] == (names or {"liver": 1, "spleen": 2})
    assert params["axis"] == 2
    return array


@pytest.fixture
def painted(truth):
    return painted_slice(truth, PAINTED)


def test_info(client):
    info = client.info()
    kinds = {name: (m["type"], m["dimension"], m["labels"]) for name, m in info["models"].items()}
    assert kinds == {
        "slmsam2": ("scribbles", 3, []),
        "slmsam2_slice": ("deepgrow", 2, []),
        "slmsam2_points": ("deepgrow", 3, []),
        "slmsam2_saved": ("segmentation", 3, []),
    }
    model = info["models"]["slmsam2"]
    for option in ("undo", "keep_largest", "fill_holes", "smooth_slices"):
        assert model["config"][option] is False
    assert model["config"]["first_slice"] == model["config"]["last_slice"] == ""
    assert model["config"]["preset"] == ["auto", "abdomen", "lung", "bone", "brain", "mediastinum"]
    assert model["config"]["speed"] == ["quality", "balanced", "fast"]
    assert model["config"]["direction"] == ["both", "forward", "backward"]
    assert info["labels"] == ["Structure 1"]
    assert "config" not in info
    assert list(info["strategies"]) == ["random", "least_confident", "most_different"]
    assert list(info["scoring"]) == ["dice"]


def test_next_sample(client, server):
    sample = client.next_sample("random", {})
    assert (server.studies / sample["name"]).is_file()


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd"])
def test_label_file(client, painted, tmp_path, extension):
    write = write_nrrd if extension == ".nrrd" else write_nifti
    label = write(tmp_path / f"label{extension}", painted)
    result, params = client.infer("slmsam2", "phantom", {"label_info": INFO}, label_in=str(label))
    assert result.endswith(".nii.gz")
    array = check(result, params, painted)
    assert array.dtype == np.uint8
    assert params["model"] == "slm_sam2_nano"
    assert isinstance(params["version"], str)
    assert params["latencies"]["total"] > 0
    assert params["suggested_slice"] is None or 0 <= params["suggested_slice"] < painted.shape[2]
    for name, value in params["label_names"].items():
        facts = params["report"]["structures"][name]
        assert facts["value"] == value
        assert facts["painted"] == [PAINTED]
        assert set(facts["stopped"]) == {"forward", "backward"}
        assert all(0 <= c <= 1 for c in facts["confidence"].values())


def test_raw_label(client, painted, tmp_path):
    label = tmp_path / "label.bin"
    label.write_bytes(painted.tobytes(order="F"))
    result, params = client.infer("slmsam2", "phantom", {"label_info": INFO}, label_in=str(label))
    check(result, params, painted)


def test_raw_label_packed(client, painted, tmp_path):
    label = tmp_path / "label.bin.gz"
    label.write_bytes(gzip.compress(painted.tobytes(order="F")))
    result, params = client.infer("slmsam2", "phantom", {"label_info": INFO}, label_in=str(label))
    check(result, params, painted)


def test_image_stored_otherwise(client, painted, tmp_path):
    label = write_nrrd(tmp_path / "label.nrrd", painted, TURNED)
    result, params = client.infer(
        "slmsam2", "turned", {"label_info": INFO, "result_extension": ".nrrd"}, label_in=str(label)
    )
    check(result, params, painted, TURNED)


def test_by_session(client, server, painted, tmp_path):
    session = client.create_session(str(server.studies / "phantom.nii.gz"))["session_id"]
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    result, params = client.infer(
        "slmsam2", "", {"label_info": INFO}, label_in=str(label), session_id=session
    )
    check(result, params, painted)
    raw = tmp_path / "label.bin"
    raw.write_bytes(painted.tobytes(order="F"))
    result, params = client.infer("slmsam2", "", {"label_info": INFO}, label_in=str(raw), session_id=session)
    check(result, params, painted)
    client.remove_session(session)


def test_by_uploaded_file(client, server, painted, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    image = server.studies / "turned.nrrd"  # the label is resampled: it lies elsewhere
    result, params = client.infer(
        "slmsam2", "", {"label_info": INFO}, label_in=str(label), file=str(server.studies / "phantom.nii.gz")
    )
    check(result, params, painted)
    label = write_nrrd(tmp_path / "turned.nrrd", painted, TURNED)
    result, params = client.infer("slmsam2", "", {"label_info": INFO}, label_in=str(label), file=str(image))
    check(result, params, painted, TURNED)


def test_from_the_saved_label(client, painted, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    info = [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 4}]  # idx counted a skipped segment
    client.save_label("saved", str(label), tag="mine", params={"label_info": info})
    names = {"liver": 1, "structure_2": 2}
    for params in ({}, {"tag": "mine"}, {"label_tag": "mine"}):
        result, reply = client.infer("slmsam2", "saved", params)
        check(result, reply, painted, names=names)
    only_liver = np.where(painted == 1, painted, 0)
    client.save_label(
        "saved", str(write_nifti(label, only_liver)), params={"label_info": info}
    )  # final goes first
    result, reply = client.infer("slmsam2", "saved", {})
    check(result, reply, only_liver, names={"liver": 1})


def test_saving_the_result(client, painted, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    asked = {"label_info": INFO, "save_label": True, "label_tag": "proposal"}
    result, reply = client.infer("slmsam2", "phantom", asked, label_in=str(label))
    objects = client.datastore()["objects"]
    saved = objects["phantom"]["labels"]["proposal"]["info"]
    assert saved["params"]["label_names"] == reply["label_names"] == {"liver": 1, "spleen": 2}
    assert saved["params"]["suggested_slice"] == reply["suggested_slice"]
    for name, facts in reply["report"]["structures"].items():
        assert saved["params"]["report"]["structures"][name]["confidence"] == facts["confidence"]
    np.testing.assert_array_equal(read(client.download_label("phantom", "proposal"))[0], read(result)[0])


def test_selected_segment_as_slicer_asks(client, painted, tmp_path):
    """Slicer takes value 1 of the reply into the selected segment, whatever its value was."""
    label = write_nrrd(tmp_path / "label.nrrd", painted)
    asked = {
        "label_info": INFO,
        "selected_label_name": "spleen",
        "roi": [],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
    }
    result, params = client.infer("slmsam2", "phantom", asked, label_in=str(label))
    assert result.endswith(".nrrd")
    spleen = (painted == 2).astype(np.uint8)
    array = check(result, params, spleen, names={"spleen": 1})
    assert array.dtype == np.uint8
    assert not array[painted == 1].any()
    assert params["report"]["structures"]["spleen"]["value"] == 1
    assert list(params["report"]["structures"]) == ["spleen"]


def test_chosen_structures_leave_the_others_as_painted(client, painted, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    result, params = client.infer(
        "slmsam2", "phantom", {"label_info": INFO, "structures": ["liver"]}, label_in=str(label)
    )
    array = check(result, params, painted)
    np.testing.assert_array_equal(array == 2, painted == 2)
    assert list(params["report"]["structures"]) == ["liver"]


def test_range_and_direction(client, painted, tmp_path):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    asked = {"direction": "forward", "last_slice": PAINTED + 2, "axis": 2, "prompt_slices": [PAINTED]}
    result, params = client.infer("slmsam2", "phantom", asked, label_in=str(label))
    array = check(result, params, painted, names={"structure_1": 1, "structure_2": 2})
    assert not array[:, :, :PAINTED].any()
    assert not array[:, :, PAINTED + 3 :].any()


@pytest.mark.parametrize(("extension", "dtype"), [(".nii", "int16"), (".nrrd", "uint16"), (".mha", None)])
def test_result_format(client, painted, tmp_path, extension, dtype):
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    asked = {
        "result_extension": extension,
        "result_dtype": dtype,
        "result_compress": True,
        "last_slice": PAINTED,
    }
    result, _ = client.infer("slmsam2", "phantom", asked, label_in=str(label))
    assert result.endswith(extension)
    array = sitk.GetArrayFromImage(sitk.ReadImage(result)).T
    np.testing.assert_array_equal(array[:, :, PAINTED], painted[:, :, PAINTED])
    assert array.dtype == np.dtype(dtype or "uint8")


def test_label_on_another_grid_is_resampled(client, truth, tmp_path):
    """The painted slice alone, as a cropped file: it overlaps the image."""
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, 2] * PAINTED
    label = write_nifti(tmp_path / "label.nii.gz", truth[:, :, PAINTED : PAINTED + 1], affine)
    result, params = client.infer("slmsam2", "phantom", {"label_info": INFO}, label_in=str(label))
    check(result, params, painted_slice(truth, PAINTED))


def test_nothing_stays_behind(server):
    assert server.left_behind() == []


def test_a_client_on_the_server_s_machine_keeps_what_it_got(server, painted, tmp_path):
    """README's own example: the client's temporary files lie where the server's do."""
    client = MONAILabelClient(server.url, tmpdir=str(server.temporary))
    label = write_nifti(tmp_path / "label.nii.gz", painted)
    for _ in range(3):
        result, params = client.infer("slmsam2", "phantom", {"label_info": INFO}, label_in=str(label))
        check(result, params, painted)
        time.sleep(0.3)  # the server removes its own file after the answer
        check(result, params, painted)
        Path(result).unlink()
    assert not any(any(folder.iterdir()) for folder in server.temporary.glob("slmsam2_results_*"))
