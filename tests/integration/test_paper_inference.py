"""scripts/inference.py: the masks of the published order, for every object; shared out, continued, scored."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from dicom_files import write_dicom
from paper_data import make_volume, write_layout
from slmsam2.engine import propagate_frames
from slmsam2.modeling import build_model, load_config, save_checkpoint
from slmsam2.paper import inference as module
from slmsam2.volume import Frames, Window, read_volume

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "inference.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_layout(tmp_path_factory.mktemp("data"), ["v0", "v1", "v2"])
    (folder / "all.txt").write_text("v0\nv1\nv2")
    (folder / "prompts.json").write_text(json.dumps({"v0": 4, "v1": 5, "v2": 3}))
    config = load_config("slm_sam2_nano")
    config.model.image_size = 64
    (folder / "configs").mkdir()
    OmegaConf.save(config, folder / "configs" / "small.yaml")
    network = build_model(
        "small",
        checkpoint=Path(__file__).parents[2] / "model/checkpoints/slm_sam2_nano.pt",
        overrides={"image_size": 64},
        model_dir=folder,
    )
    save_checkpoint(folder / "small.pt", network, version="v1", trained={})
    return folder


@pytest.fixture
def infer(data, tmp_path):
    """Runs the script in this process, into ``tmp_path / "out"``."""
    spec = importlib.util.spec_from_file_location("inference_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*changes, volumes="test.txt", prompts="prompts.json"):
        command = arguments_of(data, tmp_path / "out", volumes)
        if prompts:
            command += ["--mask_prompt_dict", str(data / prompts)]
        return script.main([*command, *map(str, changes)])

    return run


def arguments_of(data, output, volumes):
    options = {
        "test_img_folder": data / "images",
        "test_mask_folder": data / "masks",
        "checkpoint_folder": data,
        "checkpoint_name": "small.pt",
        "cfg_name": "small.yaml",
        "test_txt_file": data / volumes,
        "output_folder": output,
        "model_dir": data,
        "device": "cpu",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def masks_of(folder):
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def expected(data, name, prompt, **options):
    """What the engine gives in the published order."""
    network = build_model("small", checkpoint=data / "small.pt", model_dir=data)
    image = read_volume(data / "images" / name).array.transpose(2, 1, 0)
    labels = make_volume(int(name[1:]))[1]
    prompts = {one: {prompt: labels[prompt] == one} for one in (1, 2)}
    found = propagate_frames(
        network,
        Frames(image, Window(127.5, 255), 64),
        prompts,
        out_size=image.shape[1:],
        order="published",
        **options,
    )
    return found.logits.numpy()


def test_the_masks_are_those_of_the_published_order(infer, data, tmp_path):
    assert infer() == 0
    found = masks_of(tmp_path / "out" / "v2")
    logits = expected(data, "v2", 3)
    best = np.where(logits.max(axis=1) > 0, logits.argmax(axis=1) + 1, 0)
    np.testing.assert_array_equal(found, best)
    assert set(np.unique(found)) == {0, 1, 2}
    assert [p.name for p in sorted((tmp_path / "out" / "v2").iterdir())][:2] == ["00000.png", "00001.png"]
    rows = list(csv.DictReader((tmp_path / "out" / "dice.csv").open()))
    others = np.arange(10) != 3
    reference = make_volume(2)[1]
    for row, one in zip(rows, (1, 2), strict=True):
        a, b = found[others] == one, reference[others] == one
        assert float(row["dice"]) == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        assert (row["volume"], row["object"]) == ("v2", str(one))


def test_one_object_and_another_recent_n(infer, data, tmp_path):
    (data / "one.json").write_text('{"v2": {"1": 3}}')
    assert infer("--recent_n", 2, prompts="one.json") == 0
    logits = expected(data, "v2", 3, recent_n=2)
    np.testing.assert_array_equal(masks_of(tmp_path / "out" / "v2"), logits[:, 0] > 0)


def test_it_goes_on_where_it_was(infer, tmp_path, monkeypatch, capsys):
    real, done = module.predict, []

    def dies(network, stack, *rest, **options):
        done.append(stack.name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return real(network, stack, *rest, **options)

    monkeypatch.setattr(module, "predict", dies)
    assert infer(volumes="all.txt") == 130
    assert not (tmp_path / "out" / "dice.csv").exists()
    first = (tmp_path / "out" / "v0" / "00004.png").stat().st_mtime_ns
    assert infer(volumes="all.txt") == 0
    assert done == ["v0", "v1", "v1", "v2"]
    assert (tmp_path / "out" / "v0" / "00004.png").stat().st_mtime_ns == first
    assert "1 of 3 volumes are done already" in capsys.readouterr().out
    assert len(list(csv.DictReader((tmp_path / "out" / "dice.csv").open()))) == 6
    assert infer("--recent_n", 2, volumes="all.txt") == 2
    assert "results of other weights or settings" in capsys.readouterr().err


def test_what_is_gone_or_of_other_files_is_made_again(infer, data, tmp_path, monkeypatch):
    """Missing results, corrected masks, other images in another place, and facts that cannot be read."""
    real, done = module.predict, []

    def recorded(network, stack, *rest, **options):
        done.append(stack.name)
        return real(network, stack, *rest, **options)

    monkeypatch.setattr(module, "predict", recorded)
    for kind in ("images", "masks"):
        shutil.copytree(data / kind, tmp_path / kind)
    folders = ["--test_img_folder", tmp_path / "images", "--test_mask_folder", tmp_path / "masks"]

    def made(*changes):
        done.clear()
        assert infer(*(changes or folders), volumes="all.txt") == 0
        return done

    assert made() == ["v0", "v1", "v2"]
    assert made() == []
    (tmp_path / "out" / "v1" / "00003.png").unlink()
    assert made() == ["v1"]
    table = (tmp_path / "out" / "dice.csv").read_text()
    mask = tmp_path / "masks" / "v2" / "00006.png"
    Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    assert made() == ["v2"]
    assert (tmp_path / "out" / "dice.csv").read_text() != table
    (tmp_path / "out" / ".facts" / "v0.json").write_text("")
    (tmp_path / "out" / ".facts" / "_run.json").write_text("")
    assert made() == ["v0"]
    assert made("--test_img_folder", data / "images") == ["v0", "v1", "v2"]  # of the same names


def test_a_damaged_volume_does_not_stop_the_list(infer, data, tmp_path, capsys):
    shutil.copytree(data / "images", tmp_path / "images")
    (tmp_path / "images" / "v0" / "00003.jpg").write_bytes(b"no picture")
    assert infer("--test_img_folder", tmp_path / "images", volumes="all.txt") == 2
    assert "without a result: v0: '00003.jpg' is damaged" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("v*")} == {"v1", "v2"}


def test_processes_share_the_list(infer, tmp_path, monkeypatch):
    """As torchrun starts them; the last one to finish writes the table."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, volumes in ((1, {"v1"}), (0, {"v0", "v1", "v2"})):
        monkeypatch.setenv("RANK", str(rank))
        assert infer(volumes="all.txt", prompts=None) == 0
        assert {p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name[0] != "."} == volumes
        assert (tmp_path / "out" / "dice.csv").exists() == (rank == 0)


def test_a_damaged_volume_does_not_end_the_work_of_another_process(data, tmp_path):
    """torchrun ends all processes when one ends with an error: that of the damaged volumes has to wait."""
    pairs = [(f"damaged{number}", f"whole{number}") for number in range(10)]
    for name in [name for pair in pairs for name in pair]:
        for kind in ("images", "masks"):
            shutil.copytree(data / kind / "v1", tmp_path / kind / name)
        if name.startswith("damaged"):
            (tmp_path / "images" / name / "00003.jpg").write_bytes(b"no picture")
    (tmp_path / "list.txt").write_text("\n".join(name for pair in pairs for name in pair))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT]
    command += arguments_of(data, tmp_path / "out", "all.txt")
    command += ["--test_img_folder", tmp_path / "images", "--test_mask_folder", tmp_path / "masks"]
    command += ["--test_txt_file", tmp_path / "list.txt"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 1
    assert "without a result: damaged0: '00003.jpg' is damaged" in run.stderr
    assert {path.name for path in (tmp_path / "out").glob("whole*")} == {name for _, name in pairs}


def test_a_nifti_and_a_dicom_clip(infer, tmp_path):
    """The same volume as file and as frames of a clip: results on the file's grid, the same masks."""
    images, labels = make_volume(2)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    write_dicom(tmp_path / "images" / "clip.dcm", images, Modality="US")
    grid = np.diag([-1.0, -1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(images.transpose(2, 1, 0), grid), tmp_path / "images" / "file.nii.gz")
    for name in ("clip", "file"):
        nib.save(nib.Nifti1Image(labels.transpose(2, 1, 0), grid), tmp_path / "masks" / f"{name}.nii.gz")
    (tmp_path / "list.txt").write_text("clip\nfile\n")
    folders = ["--test_img_folder", tmp_path / "images", "--test_mask_folder", tmp_path / "masks"]
    assert (
        infer(*folders, "--test_txt_file", tmp_path / "list.txt", "--window", "127.5/255", prompts=None) == 0
    )
    clip, file = (nib.load(tmp_path / "out" / f"{name}.nii.gz") for name in ("clip", "file"))
    np.testing.assert_array_equal(np.asarray(clip.dataobj), np.asarray(file.dataobj))
    assert np.asarray(file.dataobj).shape == (72, 64, 10)
    assert np.asarray(file.dataobj).any()
    np.testing.assert_array_equal(file.affine, grid)


def test_volumes_in_folders_of_folders(infer, data, tmp_path):
    """A list may name volumes of several sites, as convert.py takes them."""
    for kind in ("images", "masks"):
        shutil.copytree(data / kind / "v2", tmp_path / kind / "site" / "pictures")
    images, labels = (array.transpose(2, 1, 0) for array in make_volume(2))
    for kind, array in (("images", images), ("masks", labels)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / kind / "site" / "file.nii.gz")
    (tmp_path / "list.txt").write_text("site/pictures\nsite/file\n")
    folders = ["--test_img_folder", tmp_path / "images", "--test_mask_folder", tmp_path / "masks"]
    assert infer(*folders, "--test_txt_file", tmp_path / "list.txt", prompts=None) == 0
    assert masks_of(tmp_path / "out" / "site" / "pictures").any()
    assert np.asarray(nib.load(tmp_path / "out" / "site" / "file.nii.gz").dataobj).any()


def test_what_cannot_be_done_gets_a_sentence(infer, data, tmp_path, capsys):
    (data / "lost.txt").write_text("v0\r\nlost\r\n\r\ngone")
    (data / "few.json").write_text('{"v0": 4}')
    (data / "far.json").write_text('{"v2": 10}')
    (data / "bare.json").write_text('{"v2": 0}')
    (data / "absent.json").write_text('{"v2": {"1": 4, "9": 3}}')
    shutil.copytree(data / "masks", tmp_path / "masks")
    for arguments, options, words in (
        ([], {"volumes": "lost.txt"}, "no images of lost, gone in"),
        ([], {"prompts": "few.json"}, "names no slice for v2"),
        ([], {"prompts": "far.json"}, "'v2' has slices 0 to 9; slice 10"),
        ([], {"prompts": "bare.json"}, "nothing is painted on slice 0"),
        ([], {"prompts": "absent.json"}, "object 9 is not painted on slice 3 of"),
        (["--recent_n", 9], {}, "--recent_n is 9: choose 1 to 5"),
        (["--device", "nothing"], {}, "no device 'nothing'"),
        (["--checkpoint_name", "none.pt"], {}, "no weights file"),
        (["--cfg_name", "none.yaml"], {}, "no model configuration 'none'"),
        (["--window", "x"], {}, "window 'x' is not understood"),
    ):
        assert infer(*arguments, **options) == 2, words
        told = capsys.readouterr().err.strip().splitlines()
        assert words in told[-1]


def test_shares():
    share = module.Share(1, 3, torch.device("cpu"))
    assert list(share.of(range(8))) == [1, 4, 7]
