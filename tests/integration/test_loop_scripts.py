"""The command-line tools of the annotator's loop, on something small."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from slmsam2 import evaluation
from slmsam2.engine.confidence import FACTS, read_calibration
from slmsam2.evaluation import calibration

pytestmark = pytest.mark.integration

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def volumes(ball_volume, tmp_path):
    folder = tmp_path / "volumes" / "ball"
    folder.mkdir(parents=True)
    array = np.asarray(ball_volume.array)
    nib.save(nib.Nifti1Image(array, ball_volume.affine), folder / "image.nii.gz")
    nib.save(nib.Nifti1Image((array > 350).astype(np.uint8), ball_volume.affine), folder / "label.nii.gz")
    (folder / "labels.json").write_text(json.dumps({"ball": 1}))
    return folder.parent


def test_simulate_annotator(volumes, tmp_path, capsys):
    arguments = ["--volumes", str(volumes), "--corrections", "2", "--output", str(tmp_path / "out")]
    assert script("simulate_annotator").main(arguments) == 0
    rounds = list(csv.DictReader((tmp_path / "out" / "rounds.csv").open()))
    assert {row["strategy"] for row in rounds} == {
        "suggested",
        "suggested-across",
        "random",
        "worst",
        "across",
    }
    for strategy in ("suggested", "suggested-across", "worst", "across"):
        reached = [float(row["dice"]) for row in rounds if row["strategy"] == strategy]
        assert len(reached) == 3
        assert reached[-1] > 0.8
    printed = capsys.readouterr().out
    assert "mean Dice after so many corrections" in printed
    assert "Spearman" in printed
    assert (tmp_path / "out" / "annotator.png").is_file()
    assert (
        script("simulate_annotator").main(["--volumes", "/nowhere", "--benchmark", "x", "--output", "y"]) == 2
    )


def test_evaluate_clicks(volumes, tmp_path, capsys):
    arguments = [
        "--volumes",
        str(volumes),
        "--clicks",
        "2",
        "--slip",
        "0.05",
        "--output",
        str(tmp_path / "out"),
    ]
    assert script("evaluate_clicks").main(arguments) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "clicks.csv").open()))
    counts = {"click": ["1", "2"], "box": ["0", "1", "2"], "mask": ["0", "1", "2"]}
    for beginning, clicks in counts.items():
        for prompt in ("largest", "quarter"):
            some = [row for row in rows if (row["beginning"], row["prompt"]) == (beginning, prompt)]
            assert [row["clicks"] for row in some] == clicks
            assert float(some[-1]["dice"]) > 0.85
    printed = capsys.readouterr().out
    assert "mean Dice of the slice after so many clicks" in printed
    assert "CPU seconds a request" in printed
    assert script("evaluate_clicks").main(["--volumes", "/nowhere", "--benchmark", "x", "--output", "y"]) == 2


SCORING = {"evaluate": "scores.csv", "simulate_annotator": "rounds.csv", "evaluate_clicks": "clicks.csv"}


@pytest.mark.parametrize("name", SCORING)
def test_what_cannot_be_scored_is_told_before_the_work(volumes, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr(evaluation.tasks, "read_volume", None)  # it is not come to
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    run, out = script(name).main, ["--output", str(tmp_path / "out")]
    second = volumes / "second"
    second.mkdir()

    def told(*arguments):
        assert run([*map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "no folder" in told("--volumes", tmp_path / "nowhere", *out)
    assert "no labelled volumes" in told("--volumes", tmp_path / "empty", *out)
    assert "cannot be written" in told("--volumes", volumes, "--output", tmp_path / "file" / "out")
    assert "no device 'gpu'" in told("--volumes", volumes, *out, "--device", "gpu")
    (second / "labels.json").write_text('{"ball": 1}')
    assert "has no second/image.nii.gz, second/label.nii.gz" in told("--volumes", volumes, *out)
    for file in ("image.nii.gz", "label.nii.gz"):
        (second / file).write_bytes(b"")
    for broken in ("{", '["ball"]', '{"ball": "1"}'):
        (second / "labels.json").write_text(broken)
        assert "second/labels.json' " in told("--volumes", volumes, *out)
    numbers = {"evaluate": [], "simulate_annotator": ["--corrections"], "evaluate_clicks": ["--clicks"]}
    for option in ("--threads", *numbers[name]):
        with pytest.raises(SystemExit) as ended:
            run(["--volumes", str(volumes), *out, option, "-1"])
        assert ended.value.code == 2
        assert "'-1' must be a whole number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SCORING)
def test_what_was_scored_stays_when_a_volume_is_damaged(volumes, tmp_path, capsys, name):
    damaged = shutil.copytree(volumes / "ball", volumes / "damaged")
    (damaged / "label.nii.gz").write_bytes(b"no label")
    less = {"evaluate": ["--methods", "repeated_in_extent"], "simulate_annotator": ["--corrections", "0"]}
    more = less.get(name, ["--clicks", "1"])
    assert script(name).main(["--volumes", str(volumes), "--output", str(tmp_path / "out"), *more]) == 2
    assert "damaged: 'label.nii.gz' is damaged" in capsys.readouterr().err
    rows = list(csv.DictReader((tmp_path / "out" / SCORING[name]).open()))
    assert {row["volume"] for row in rows} == {"ball"}


def test_calibrate_confidence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(calibration, "SLICES", 8)
    monkeypatch.setattr(calibration, "SIZE", 64)
    path = tmp_path / "confidence.yaml"
    assert script("calibrate_confidence").main(["--volumes", "3", "--output", str(path)]) == 0
    written = yaml.safe_load(path.read_text())
    assert (written["model"], written["fitted_on"]["synthetic_volumes"]) == ("slm_sam2_nano", 3)
    assert written["version"] in capsys.readouterr().out
    fitted = read_calibration(written)
    assert len(fitted.found) == len(fitted.empty) == 1 + len(FACTS)
    assert script("calibrate_confidence").main(["--model", "nobody"]) == 2


def test_the_embedded_model_has_a_calibration():
    written = yaml.safe_load((SCRIPTS.parent / "model" / "confidence" / "slm_sam2_nano.yaml").read_text())
    assert read_calibration(written) is not None
