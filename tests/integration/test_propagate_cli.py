"""scripts/propagate.py on a small phantom with a small random network: files in and out, refusals."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from small_network import set_presence

from slmsam2.modeling import build_model, save_checkpoint

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "propagate.py"
AFFINE = np.diag([-1.5, 2.0, 4.0, 1.0])
PAINTED = 5


@pytest.fixture
def case(tmp_path):
    """A folder with image.nii.gz and label.nii.gz (values 3 and 9 on one slice), and a model folder."""
    torch.manual_seed(11)
    network = build_model("slm_sam2_nano", overrides={"image_size": 64})
    set_presence(network, 4.0)
    weights = tmp_path / "model" / "checkpoints" / "slm_sam2_nano.pt"
    save_checkpoint(weights, network, version="small", trained={})
    label = np.zeros((20, 24, 10), np.uint8)
    label[4:10, 5:15, PAINTED] = 3
    label[13:18, 12:20, PAINTED] = 9
    image = np.random.default_rng(0).normal(40, 5, label.shape) + 20 * (label > 0)
    nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(label, AFFINE), tmp_path / "label.nii.gz")
    return tmp_path


def arguments(case, *more):
    files = {"--image": "image.nii.gz", "--label": "label.nii.gz", "--output": "result/found.nii.gz"}
    return [text for option, name in files.items() for text in (option, str(case / name))] + list(more)


@pytest.fixture
def main(case, monkeypatch):
    """The script's main, with the small model."""
    monkeypatch.setenv("SLMSAM2_MODEL_DIR", str(case / "model"))
    spec = importlib.util.spec_from_file_location("propagate_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main


def test_image_and_label_in_volume_report_and_figure_out(case):
    report_path, figure_path = case / "reports" / "report.json", case / "sheet.png"
    more = ("--window", "40/80", "--report", str(report_path), "--figure", str(figure_path))
    env = os.environ | {"SLMSAM2_MODEL_DIR": str(case / "model"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments(case, *more)],
        capture_output=True,
        text=True,
        env=env,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"structure_3: painted {PAINTED}; found on" in done.stdout
    assert "structure_9" in done.stdout

    given, found = nib.load(case / "label.nii.gz"), nib.load(case / "result" / "found.nii.gz")
    assert np.array_equal(found.affine, AFFINE)
    assert found.get_data_dtype() == np.uint8
    array = np.asarray(found.dataobj)
    assert np.array_equal(array[..., PAINTED], np.asarray(given.dataobj)[..., PAINTED])
    assert set(np.unique(array)) == {0, 3, 9}
    assert (array[..., PAINTED + 1] > 0).any()

    report = json.loads(report_path.read_text())
    assert report["axis"] == 2
    assert report["window"] == [0.0, 80.0]
    assert report["version"] == "small"
    assert report["structures"]["structure_3"]["painted"] == [PAINTED]
    assert imread(figure_path).shape[1] > 1000


def test_one_structure_only(case, main, capsys):
    assert main(arguments(case, "--structures", "9")) == 0
    assert "structure_3" not in capsys.readouterr().out
    array = np.asarray(nib.load(case / "result" / "found.nii.gz").dataobj)
    assert (array == 9).sum() > 40


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--structures", "4"), "4"),
        (("--window", "wide"), "wide"),
        (("--device", "gpu"), "no device 'gpu'"),
        (("--model", "slm_sam2_giant"), "slm_sam2_giant"),
        (("--image", "absent.nii.gz"), "absent.nii.gz"),
    ],
)
def test_mistakes_are_one_sentence(case, main, capsys, more, words):
    assert main(arguments(case, *more)) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "propagate: " in error
    assert "Traceback" not in error
    assert not (case / "result").exists()


def test_where_results_go_is_checked_before_the_work(case, main, capsys, monkeypatch):
    """Above all that they do not replace what they are made from."""
    monkeypatch.setitem(main.__globals__, "propagate_volume", None)  # it is not come to
    (case / "file").write_text("")
    (case / "folder.json").mkdir()
    link = case / "linked.nii.gz"
    link.symlink_to(case / "label.nii.gz")
    before = {name: (case / name).read_bytes() for name in ("image.nii.gz", "label.nii.gz")}
    for option, path, words in (
        ("--output", "label.nii.gz", "is needed for something else"),
        ("--output", "result/../image.nii.gz", "is needed for something else"),
        ("--output", "linked.nii.gz", "is needed for something else"),
        ("--output", "file/out.nii.gz", "cannot be written"),
        ("--report", "file/report.json", "cannot be written"),
        ("--report", "result/found.nii.gz", "is needed for something else"),
        ("--report", "folder.json", "is a folder"),
        ("--figure", "file/sheet.png", "cannot be written"),
    ):
        (case / "result").mkdir(exist_ok=True)
        assert main(arguments(case, option, str(case / path))) == 2
        assert words in capsys.readouterr().err
    assert {name: (case / name).read_bytes() for name in before} == before


def test_a_window_below_zero(case, main, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--window=-600/1500" in capsys.readouterr().out
    assert main(arguments(case, "--window=-20/80", "--report", str(case / "report.json"))) == 0
    assert json.loads((case / "report.json").read_text())["window"] == [-60.0, 20.0]


def test_endings_are_checked_before_the_work(case, main, capsys):
    for option, ending in (("--output", "out.txt"), ("--figure", "sheet.bmp")):
        with pytest.raises(SystemExit) as ended:
            main(arguments(case, option, str(case / ending)))
        assert ended.value.code == 2
        assert "must end in" in capsys.readouterr().err
