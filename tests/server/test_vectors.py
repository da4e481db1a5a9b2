"""The images' vectors in this process: bounded, kept, and never in the way."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
from monailabel.datastore.local import LocalDatastore
from server_studies import SHAPE, phantom, write_nifti

from slmsam2.errors import CheckpointError
from slmsam2.modeling import build_model, checkpoint_path, save_checkpoint
from slmsam2.server.running import shortage
from slmsam2.server.running.models import ModelStore
from slmsam2.server.sampling import vectors as room
from slmsam2.server.sampling.vectors import VectorStore, interleaved

pytestmark = pytest.mark.server

NAME = "slm_sam2_nano"


@pytest.fixture
def models(tmp_path):
    (tmp_path / "model" / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint_path(NAME), tmp_path / "model" / "checkpoints")
    shutil.copytree(checkpoint_path(NAME).parents[1] / "configs", tmp_path / "model" / "configs")
    return ModelStore(NAME, tmp_path / "model")


@pytest.fixture
def datastore(tmp_path):
    folder = tmp_path / "studies"
    folder.mkdir()
    image, _ = phantom()
    for name in ("a", "b"):
        write_nifti(folder / f"{name}.nii.gz", image)
    write_nifti(folder / "constant.nii.gz", np.full(SHAPE, 7, np.int16))
    (folder / "text.nii.gz").write_text("this is not an image")
    return LocalDatastore(str(folder), extensions=["*.nii.gz"])


@pytest.fixture
def computed(monkeypatch):
    """Numbers of the volumes that were encoded."""
    calls = []

    def counted(network, volume, real=room.volume_vector):
        calls.append(volume.path.name)
        return real(network, volume)

    monkeypatch.setattr(room, "volume_vector", counted)
    return calls


ALL = ["a", "b", "constant", "text"]


def test_kept_in_memory_and_on_disk(models, datastore, computed, caplog):
    store = VectorStore(models, "cpu")
    first = store.vectors(ALL, datastore)
    assert sorted(first) == ["a", "b"]
    np.testing.assert_allclose(first["a"], first["b"], atol=1e-6)  # the same image twice
    assert "constant cannot be compared" in caplog.text
    assert "text cannot be compared" in caplog.text
    assert sorted(computed) == ["a.nii.gz", "b.nii.gz", "constant.nii.gz"]
    caplog.clear()
    store.vectors(ALL, datastore)
    assert len(computed) == 3
    assert not caplog.text  # told once
    (file,) = store.folder.iterdir()
    assert file.stat().st_size < 10_000
    again = VectorStore(models, "cpu").vectors(["a", "b"], datastore)
    assert len(computed) == 3
    np.testing.assert_array_equal(again["a"], first["a"])


def test_a_changed_file_is_looked_at_again(models, datastore, computed):
    store = VectorStore(models, "cpu")
    before = store.vectors(["a"], datastore)["a"]
    image = phantom()[0]
    image[:, :18] = 900
    write_nifti(datastore.get_image_uri("a"), image)
    assert np.linalg.norm(store.vectors(["a"], datastore)["a"] - before) > 0.05
    assert len(computed) == 2


def test_vectors_stay_while_the_image_encoder_stays(models, datastore, computed):
    """A fine-tuned version with a frozen image encoder."""
    store = VectorStore(models, "cpu")
    store.vectors(["a"], datastore)
    network = build_model(NAME, checkpoint=models.path)
    network.memory_attention.layers[0].norm1.bias.data += 1
    save_checkpoint(models.path, network, version="memory", trained={})
    store.vectors(["a"], datastore)
    assert models.get("cpu").info["version"] == "memory"
    assert len(computed) == 1
    network.image_encoder.neck.convs[0].conv.bias.data += 1
    save_checkpoint(models.path, network, version="encoder", trained={})
    store.vectors(["a"], datastore)
    assert len(computed) == 2
    assert len(list(store.folder.iterdir())) == 1  # those of the old encoder are gone


def test_time_is_bounded(models, datastore, computed):
    store = VectorStore(models, "cpu", seconds=0)
    assert list(store.vectors(["b", "a"], datastore)) == ["b"]  # one at least
    assert sorted(store.vectors(["b", "a"], datastore)) == ["a", "b"]  # the next request goes on
    assert len(computed) == 2


def test_an_inference_is_not_waited_for(models, datastore, computed):
    store = VectorStore(models, "cpu", seconds=0.5)
    begin = time.monotonic()
    store.vectors([], datastore)  # loads the network
    with models.busy("cpu"):
        begin = time.monotonic()
        assert store.vectors(["a", "b"], datastore) == {}
        assert time.monotonic() - begin < 5
    assert sorted(store.vectors(["a"], datastore)) == ["a"]  # it was not taken for unreadable


def test_two_requests_do_not_compute_the_same(models, datastore, computed):
    store = VectorStore(models, "cpu")
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(store.vectors(["a", "b"], datastore))) for _ in "12"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [sorted(each) for each in got] == [["a", "b"]] * 2
    assert len(computed) == 2


def test_a_damaged_file_is_replaced(models, datastore, caplog):
    VectorStore(models, "cpu").vectors(["a"], datastore)
    store = VectorStore(models, "cpu")
    (file,) = store.folder.iterdir()
    file.write_bytes(file.read_bytes()[:200])
    assert list(store.vectors(["a"], datastore)) == ["a"]
    assert "computed again" in caplog.text
    assert list(np.load(file)["keys"].shape) == [1]


def test_a_folder_that_cannot_be_written(models, datastore, computed, caplog):
    store = VectorStore(models, "cpu")
    store.folder.parent.mkdir(parents=True)
    store.folder.write_text("in the way")
    assert list(store.vectors(["a"], datastore)) == ["a"]
    assert "in memory only" in caplog.text
    assert list(store.vectors(["a"], datastore)) == ["a"]
    assert len(computed) == 1


def test_an_archive_that_breaks(models, datastore, caplog):
    class Broken(LocalDatastore):
        def get_image_uri(self, image_id):
            if image_id == "b":
                raise RuntimeError("no such series")
            return super().get_image_uri(image_id)

    broken = Broken(datastore._datastore_path, extensions=["*.nii.gz"])
    os.utime(datastore.get_image_uri("a"))
    assert list(VectorStore(models, "cpu").vectors(["b", "a"], broken)) == ["a"]
    assert "no such series" in caplog.text


def test_without_weights(tmp_path, datastore):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.yaml").write_text(f"base: [{NAME}]")
    with pytest.raises(CheckpointError):
        VectorStore(ModelStore("own", tmp_path), "cpu").vectors(["a"], datastore)


def test_both_kinds_come_early():
    order = interleaved(["1", "2"], list("abcdef"))
    assert sorted(order) == sorted("12abcdef")
    assert len(set(order[:4]) & {"1", "2"}) == 2
    assert interleaved([], ["a"]) == ["a"]


def test_a_moment_of_little_memory_is_not_remembered(models, datastore, monkeypatch):
    store = VectorStore(models, "cpu")
    with monkeypatch.context() as short:
        short.setattr(shortage, "available", lambda: 10)
        assert store.vectors(["a"], datastore) == {}
    with monkeypatch.context() as short:
        short.setattr(room, "volume_vector", no_memory)
        assert store.vectors(["a"], datastore) == {}
    assert store.vectors(["a"], datastore).keys() == {"a"}


def no_memory(*_):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_what_another_server_is_writing_stays(models, datastore):
    store = VectorStore(models, "cpu")
    store.folder.mkdir(parents=True)
    (store.folder / ".0123456789abcdef.npz").write_text("half")
    (store.folder / "0123456789abcdef.npz").write_text("of another image encoder")
    store.vectors(["a"], datastore)
    names = sorted(path.name for path in store.folder.iterdir())
    assert len(names) == 2
    assert names[0] == ".0123456789abcdef.npz"
    assert names[1] != "0123456789abcdef.npz"
