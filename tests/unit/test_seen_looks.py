"""The shelf of looks: what is added, left out and cleared away."""

import os
from types import SimpleNamespace

import pytest
import torch

from slmsam2.modeling import InferenceSettings, Moments
from slmsam2.modeling.checkpoint import write_looks
from slmsam2.server.learning import looks as module
from slmsam2.server.learning import shelf as shelf_module
from slmsam2.server.learning.looks import SeenLooks
from slmsam2.server.learning.shelf import Shelf

pytestmark = pytest.mark.unit

NAMES = ["a", "b", "c", "d"]


def looks_of(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(50, 4, generator=generator)
    return Moments.of(pixels, torch.where(pixels[:, 0] > 0, 1.0, -1.0), torch.ones(50))


@pytest.fixture
def shelf(tmp_path):
    models = SimpleNamespace(name="nano", model_dir=tmp_path, facts=lambda: {"version": "learned/1"})
    return SeenLooks(models)


@pytest.fixture
def network():
    """What is asked of one."""
    info, settings = {"version": "learned/1"}, InferenceSettings(appearance=True)
    return SimpleNamespace(info=info, inference=settings, looks={}, device=torch.device("cpu"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints" / "learned" / "nano" / "looks" / "learned_1"


@pytest.fixture
def put(folder):
    """Put looks of an image on the shelf, as another server may have done."""

    def put(image, age=0, **looks):
        path = Shelf(folder, ".pt").path_of(image)
        write_looks(path, looks)
        os.utime(path, ns=(10**18 - age, 10**18 - age))
        return path

    return put


def test_nothing_is_known_at_first(shelf, network):
    assert shelf.of(network, None) == {}
    assert shelf.volumes() == {}


def test_volumes_add_up_beside_what_the_weights_know(shelf, network, put):
    network.looks = {"liver": looks_of(0)}
    put("a", liver=looks_of(1), spleen=looks_of(2))
    assert shelf.volumes() == {"liver": 1, "spleen": 1}
    put("b", liver=looks_of(3))
    found = shelf.of(network, None)
    assert shelf.volumes() == {"liver": 2, "spleen": 1}
    assert float(found["liver"].weight) == 150
    expected = looks_of(0) + looks_of(1) + looks_of(3)
    assert torch.allclose(found["liver"].products, expected.products, atol=1e-5)
    assert float(network.looks["liver"].weight) == 50


def test_the_label_of_the_image_itself_does_not_count(shelf, network, put):
    put("a", liver=looks_of(1), spleen=looks_of(2))
    put("b", liver=looks_of(3))
    found = shelf.of(network, "a")
    assert found.keys() == {"liver"}
    assert torch.equal(found["liver"].products, looks_of(3).products)
    assert float(shelf.of(network, "never submitted")["liver"].weight) == 100
    put("b", age=-1, spleen=looks_of(4))
    assert shelf.of(network, "b").keys() == {"liver", "spleen"}
    assert shelf.of(network, "a").keys() == {"spleen"}


def test_a_label_that_changes_or_goes_is_not_counted_any_more(shelf, network, put):
    put("a", age=5, liver=looks_of(1))
    gone = put("b", liver=looks_of(2))
    assert float(shelf.of(network, None)["liver"].weight) == 100
    put("a", spleen=looks_of(3))
    gone.unlink()
    assert shelf.of(network, None).keys() == {"spleen"}
    assert shelf.volumes() == {"spleen": 1}


def test_a_damaged_file_is_left_out(shelf, network, put, caplog):
    put("a", liver=looks_of(1))
    put("b", liver=looks_of(2)).write_bytes(b"PK nothing of the kind")
    assert float(shelf.of(network, None)["liver"].weight) == 50
    assert "left out" in caplog.text


def test_other_weights_know_nothing_of_it(shelf, network, put):
    put("a", liver=looks_of(1))
    network.info["version"] = "learned-2"
    assert shelf.of(network, None) == {}


def test_a_model_that_uses_no_looks_gets_none(shelf, network, put):
    put("a", liver=looks_of(1))
    network.inference = InferenceSettings()
    assert shelf.of(network, None) == {}


def test_what_is_not_wanted_any_more_is_cleared_away(folder, put, monkeypatch):
    monkeypatch.setattr(shelf_module, "MOST_VOLUMES", 2)
    paths = {name: put(name, age=age, liver=looks_of(age)) for age, name in enumerate(NAMES)}
    older = folder.parent / "learned_0"
    older.mkdir()
    module._forget_other_weights(folder)
    Shelf(folder, ".pt").clear_up(dict.fromkeys("bcd", ""))
    assert sorted(folder.iterdir()) == sorted(
        [paths["b"], paths["c"]]
    )  # d is the oldest, a is not labelled now
    assert not older.exists()


def test_images_are_caught_up_with_as_far_as_there_is_room(shelf, network, put, monkeypatch):
    """Of many labelled images those on the shelf stay, the one submitted is learnt, and no more than fit."""
    monkeypatch.setattr(shelf_module, "MOST_VOLUMES", 3)
    put("a", liver=looks_of(1))
    network.info["trained"] = {"labels": {"b": "digest"}}
    shelf._models.get = lambda device: network
    labelled = dict.fromkeys("abcde", "")
    assert shelf.to_learn(labelled, {"e"}) == ["e", "c"]
    put("e", liver=looks_of(3))
    assert shelf.to_learn(labelled, {"e"}) == ["e", "c"]  # e is there already
    put("c", liver=looks_of(2))
    assert shelf.to_learn(labelled, {"d"}) == ["d"]


def test_volumes_that_weights_were_only_judged_by_are_learnt_again(shelf, network):
    """Their looks are not in the weights' own file, and those in features of other weights are gone."""
    network.info["trained"] = {"labels": {"a": "1", "b": "2"}, "looks_of": {"a": "mark"}}
    shelf._models.get = lambda device: network
    assert shelf.to_learn({"a": "mark", "b": "mark"}, set()) == ["b"]
    network.info["trained"]["looks_of"] = ["a"]  # as older releases wrote it
    assert shelf.to_learn({"a": "mark", "b": "mark"}, set()) == ["b"]


def test_a_label_that_changed_since_its_looks_were_learnt_is_learnt_again(shelf, network, put, folder):
    """From the shelf of these weights, or from their own file."""
    network.info["trained"] = {"looks_of": {"c": "old", "d": "same"}}
    shelf._models.get = lambda device: network
    for image in "ab":
        write_looks(Shelf(folder, ".pt").path_of(image, "old"), {image: looks_of(1)})
    assert shelf.to_learn({"a": "new", "b": "old", "c": "new", "d": "same"}, set()) == ["a", "c"]
    assert shelf.of(network, None).keys() == {"b"}  # what is not so any more does not count


def test_without_a_label_no_network_is_needed(shelf, put):
    put("a", liver=looks_of(1))
    assert shelf.to_learn({}, set()) == []
    assert shelf.volumes() == {}


def test_names_that_say_nothing_are_not_known_by_weights_either(shelf, network):
    network.looks = {"liver": looks_of(0), "Segment_1": looks_of(1)}
    assert shelf.of(network, None).keys() == {"liver"}


def test_a_file_is_read_once_also_for_an_image_that_has_one_itself(shelf, network, put, monkeypatch):
    for number, name in enumerate(NAMES):
        put(name, liver=looks_of(number))
    read = []
    monkeypatch.setattr(
        module, "read_looks", lambda file, real=module.read_looks: read.append(file) or real(file)
    )
    first = shelf.of(network, "b")
    assert len(read) == len(NAMES)
    again = shelf.of(network, "b")
    assert len(read) == len(NAMES)
    assert torch.equal(first["liver"].mean, again["liver"].mean)
    put("c", age=-1, liver=looks_of(9))  # another label of that image
    changed = shelf.of(network, "b")
    assert len(read) == len(NAMES) + 1
    assert not torch.equal(changed["liver"].mean, first["liver"].mean)


def test_looks_that_are_too_large_to_keep_are_known_all_the_same(shelf, network, put, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    put("a", liver=looks_of(1))
    put("b", liver=looks_of(2))
    assert torch.equal(shelf.of(network, "b")["liver"].mean, looks_of(1).mean)
