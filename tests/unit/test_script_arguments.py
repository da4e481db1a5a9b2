"""What command lines refuse: a sentence, and no traceback."""

import importlib
import sys
from pathlib import Path

import pytest

from slmsam2.arguments import exit_status
from slmsam2.errors import RunCancelledError, VolumeError

pytestmark = pytest.mark.unit

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (None, 0, ""),
        (VolumeError("It is damaged."), 2, "try: It is damaged.\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "try: [Errno 2] No such file: 'x'\n"),
        (RunCancelledError("Go on later."), 75, "try: Go on later.\n"),
        (KeyboardInterrupt(), 130, "try: interrupted.\n"),
    ],
)
def test_how_a_command_ends(capsys, error, status, sentence):
    def work():
        if error is not None:
            raise error

    assert exit_status("try", work) == status
    assert capsys.readouterr().err == sentence


def test_what_nobody_foresaw_has_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_status("try", lambda: 1 / 0)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script; gives its exit status and the last line of what it says."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def runs(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            status = importlib.import_module(name).main()
        except SystemExit as leaving:
            status = leaving.code
        return status, capsys.readouterr().err.splitlines()[-1]

    return runs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "nothing"], "There is no model configuration 'nothing'"),
        (["--config", "slm_sam2_nano"], "has no stages"),
        (["--label-maps", "nowhere"], "There are no label maps in 'nowhere'"),
        (["--volumes", "0"], "must be a whole number, 1 or more"),
    ],
)
def test_draw_samples(run, tmp_path, arguments, sentence):
    status, told = run("draw_samples", "--output", tmp_path / "x.png", *arguments)
    assert (status, sentence in told) == (2, True)
    assert not (tmp_path / "x.png").exists()


def test_draw_samples_knows_its_formats(run, tmp_path):
    assert run("draw_samples", "--output", tmp_path / "x.txt")[1].endswith("must end in .png, .pdf, .svg")
    (tmp_path / "file").write_text("")
    status, told = run("draw_samples", "--output", tmp_path / "file" / "x.png")
    assert (status, "cannot be written" in told) == (2, True)


def test_where_nothing_can_be_written_no_confidence_is_fitted(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, told = run("calibrate_confidence", "--volumes", 2, "--output", tmp_path / "file" / "x.yaml")
    assert (status, "choose another place" in told) == (2, True)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [("pretrain", "at least one stage"), ("train_outliner", "take one like outliner.yaml")],
)
def test_a_configuration_of_something_else(run, tmp_path, script, sentence):
    status, told = run(script, "--config", "slm_sam2_nano", "--output", tmp_path / "run")
    assert (status, sentence in told) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", "--output", "x", "--threads", "-1"],
        ["train_outliner", "--output", "x", "--threads", "-1"],
        ["calibrate_confidence", "--threads", "0"],
        ["calibrate_confidence", "--volumes", "1"],
        ["bench", "--output", "x", "--threads", "0"],
        ["bench", "--output", "x", "--slices", "0"],
        ["learn", "--studies", "x", "--threads", "-1"],
    ],
)
def test_numbers_that_are_too_small(run, command):
    status, told = run(*command)
    assert (status, "must be a whole number" in told) == (2, True)


def test_learn_says_that_there_is_no_such_device(run, tmp_path):
    status, told = run("learn", "--studies", tmp_path, "--device", "nonsense")
    assert (status, "There is no device 'nonsense'" in told) == (2, True)


@pytest.mark.parametrize(("script", "option"), [("learn", "--model-dir"), ("agreement", "--output")])
def test_where_nothing_can_be_written_a_folder_of_studies_is_not_worked_on(run, tmp_path, script, option):
    (tmp_path / "file").write_text("")
    status, told = run(script, "--studies", tmp_path, option, tmp_path / "file" / "x")
    assert (status, "Not a directory" in told) == (2, True)
