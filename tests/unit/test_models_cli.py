"""scripts/models.py: list, go back, export; wrong names get a sentence."""

import importlib.util
from pathlib import Path

import pytest
import torch

from slmsam2.modeling import build_model, checkpoint_path, read_checkpoint, save_checkpoint
from slmsam2.training.registry import Registry, Version
from tiny_hiera import write_tiny_model

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "models.py"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small network of the published kind, as configuration "small" of a model folder."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder, "small")
    return folder


@pytest.fixture
def models(tmp_path, tiny):
    """Runs the script on a registry with two versions."""
    spec = importlib.util.spec_from_file_location("models_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "configs").symlink_to(tiny / "configs")
    registry = Registry("small", tmp_path)
    for number, dice in ((1, 0.7), (2, 0.8)):
        name = registry.next_name
        registry.begin({})
        registry.path(name).parent.mkdir(parents=True, exist_ok=True)
        registry.path(name).write_bytes(name.encode())
        metrics = {"eval": {"before": dice - 0.1, "after": dice}}
        parent = f"learned-{number - 1}" if number > 1 else None
        registry.publish(Version(name, parent, 0.0, {"a": "digest"}, ["liver", "spleen"], metrics))
    return lambda *args: script.main(["--model", "small", "--model-dir", str(tmp_path), *map(str, args)])


def test_list(models, capsys):
    assert models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  base")
    assert lines[2].split()[:1] == ["learned-1"]
    assert lines[3].split()[:2] == ["*", "learned-2"]
    assert "0.700  0.800  liver, spleen" in lines[3]


def test_what_is_not_there_has_no_list(models, capsys, tmp_path):
    assert models("--model-dir", tmp_path / "modle", "list") == 2
    assert "there is no folder" in capsys.readouterr().err
    assert models("--model", "nope", "list") == 2
    assert "no model configuration 'nope'" in capsys.readouterr().err


def test_rollback(models, capsys, tmp_path):
    assert models("rollback", "learned-1") == 0
    assert checkpoint_path("small", tmp_path).read_bytes() == b"learned-1"
    assert models("rollback", "learned-7") == 2
    assert "Known: learned-1, learned-2, base" in capsys.readouterr().err
    assert models("rollback", "base") == 0
    assert checkpoint_path("small", tmp_path).name == "small.pt"


def test_export(models, capsys, tmp_path):
    assert models("export", "learned-2", "--output", tmp_path / "out" / "team.pt") == 0
    assert (tmp_path / "out" / "team.pt").read_bytes() == b"learned-2"
    assert models("export", "learned-9", "--output", tmp_path / "x.pt") == 2
    assert "base, learned-1, learned-2" in capsys.readouterr().err


@pytest.fixture
def formats(models, tmp_path):
    """Runs the script in that folder; weights that the published tool would have written."""
    torch.manual_seed(1)
    network = build_model("small", model_dir=tmp_path)
    weights = {**network.state_dict(), "rec_maskmem_tpos_enc": torch.randn(7, 1, 1, 64)}
    torch.save({"model": weights, "epoch": 3}, tmp_path / "theirs.pt")
    return network


def content(path):
    return torch.load(path, weights_only=True)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_published_weights_there_and_back(models, formats, tmp_path):
    assert models("convert", tmp_path / "theirs.pt", "--to", "own", "--output", tmp_path / "own.pt") == 0
    assert read_checkpoint(tmp_path / "own.pt").kind == "slmsam2"
    assert models("convert", tmp_path / "own.pt", "--to", "published", "--output", tmp_path / "back.pt") == 0
    assert same(content(tmp_path / "back.pt")["model"], content(tmp_path / "theirs.pt")["model"])
    network = build_model("small", checkpoint=tmp_path / "back.pt", model_dir=tmp_path)
    assert same(network.state_dict(), formats.state_dict())


def test_own_weights_there_and_back(models, formats, tmp_path):
    formats.recent_n = 3
    save_checkpoint(tmp_path / "own.pt", formats, version="v7", trained={"volumes": 2})
    formats.recent_n = 1
    assert models("convert", tmp_path / "own.pt", "--to", "published", "--output", tmp_path / "pub.pt") == 0
    weights = content(tmp_path / "pub.pt")["model"]
    assert weights["rec_maskmem_tpos_enc"].shape == (7, 1, 1, 64)
    assert models("convert", tmp_path / "pub.pt", "--to", "own", "--output", tmp_path / "again.pt") == 0
    before, after = read_checkpoint(tmp_path / "own.pt"), read_checkpoint(tmp_path / "again.pt")
    assert same(before.weights, after.weights)
    assert (before.settings, before.version, before.trained) == (after.settings, after.version, after.trained)


def test_install(models, formats, tmp_path, capsys):
    for _ in range(2):
        assert models("install", tmp_path / "theirs.pt") == 0
    assert "weights that were there" in capsys.readouterr().out
    installed = build_model("small", checkpoint=tmp_path / "checkpoints" / "small.pt", model_dir=tmp_path)
    assert same(installed.state_dict(), formats.state_dict())


def test_what_install_replaces_is_kept_each_time(models, formats, tmp_path, capsys):
    target = tmp_path / "checkpoints" / "small.pt"
    originals = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = build_model("small", model_dir=tmp_path)
        save_checkpoint(tmp_path / f"{seed}.pt", network, version=f"v{seed}", trained={})
        assert models("install", tmp_path / f"{seed}.pt") == 0
        originals.append(target.read_bytes())
    before = target.with_name("small.pt.before")
    assert before.read_bytes() == originals[0]
    assert target.with_name("small.pt.before-2").read_bytes() == originals[1]
    assert models("install", before) == 0  # and back
    assert read_checkpoint(target).version == "v0"
    assert before.read_bytes() == originals[0]
    capsys.readouterr()
    assert models("install", tmp_path / "1.pt") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("small.pt.before")  # the same is kept once
    assert sorted(path.name for path in target.parent.glob("*before*")) == [
        "small.pt.before",
        "small.pt.before-2",
        "small.pt.before-3",
    ]


def test_files_that_are_no_fitting_weights_get_a_short_sentence(models, formats, tmp_path, capsys):
    (tmp_path / "train.txt").write_text("liver_1\nliver_2\n")
    torch.save({"model": {f"part.{number}": torch.zeros(1) for number in range(900)}}, tmp_path / "other.pt")
    unread = "train.txt cannot be read as a weights file: it is something else, or holds more than tensors"
    for name, words in (("train.txt", unread), ("other.pt", "and 897 more)")):
        assert models("install", tmp_path / name) == 2
        told = capsys.readouterr().err
        assert words in told
        assert "weights_only" not in told
        assert len(told) < 800
    assert "unexpected: part.0, part.1, part.2 and" in told


def test_weights_that_cannot_be_converted(models, formats, tmp_path, capsys):
    formats.follow_motion = True
    save_checkpoint(tmp_path / "own.pt", formats, version="v", trained={})
    formats.follow_motion = False
    assert models("convert", tmp_path / "own.pt", "--to", "published", "--output", tmp_path / "p.pt") == 2
    assert "needs follow_motion" in capsys.readouterr().err
    plain = {k: v for k, v in formats.state_dict().items() if not k.startswith("recent_")}
    torch.save({"model": plain}, tmp_path / "sam2.pt")
    assert models("convert", tmp_path / "sam2.pt", "--to", "published", "--output", tmp_path / "p.pt") == 2
    assert "holds SAM 2.1" in capsys.readouterr().err
    assert models("install", tmp_path / "nothing.pt") == 2
    assert "no weights file" in capsys.readouterr().err


def test_mean(formats, models, capsys, tmp_path):
    files, networks = [tmp_path / "a.pt", tmp_path / "b.pt"], []
    for number, path in enumerate(files):
        torch.manual_seed(number)
        networks.append(build_model("small", model_dir=tmp_path))
        save_checkpoint(path, networks[-1], version=path.stem, trained={"steps": number}, dtype=torch.float16)
    out = tmp_path / "mean.pt"
    assert models("mean", *files, "--shares", 3, 1, "--version", "both", "--output", out) == 0
    written = read_checkpoint(out)
    assert written.version == "both"
    assert [part["share"] for part in written.trained["mean_of"]] == [0.75, 0.25]
    assert written.trained["mean_of"][1]["trained"] == {"steps": 1}
    one, other = (network.state_dict() for network in networks)
    for name, weight in written.weights.items():
        expected = 0.75 * one[name].half() + 0.25 * other[name].half()
        assert torch.allclose(weight.float(), expected.float(), atol=2e-3), name
    assert all(weight.dtype != torch.float32 for weight in written.weights.values())

    assert models("mean", *files, "--shares", 1, "--version", "x", "--output", tmp_path / "x.pt") == 2
    assert "a positive share for each of the 2 files" in capsys.readouterr().err
    theirs = [files[0], tmp_path / "theirs.pt"]
    assert models("mean", *theirs, "--version", "x", "--output", tmp_path / "x.pt") == 2
    assert "theirs.pt is not in this project's format" in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()
