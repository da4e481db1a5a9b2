"""Learnt versions: published in one step, bounded, and gone back to."""

import os
import time

import pytest

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.modeling import checkpoint_path
from slmsam2.training import registry as module
from slmsam2.training.registry import Registry, Version, training_under_way

pytestmark = pytest.mark.unit
MODEL = "small"


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{MODEL}.pt").write_bytes(b"start")
    return Registry(MODEL, tmp_path)


def publish(registry, labels=None):
    name = registry.next_name
    registry.begin({})
    parent = registry.published
    registry.path(name).write_bytes(name.encode())
    registry.publish(Version(name, parent and parent.version, time.time(), labels or {}, ["liver"]))
    return name


def in_use(registry):
    return checkpoint_path(MODEL, registry.model_dir).read_bytes()


def test_a_new_registry_uses_the_weights_that_came_with_the_model(registry):
    assert registry.published is None
    assert registry.seen == {}
    assert in_use(registry) == b"start"


def test_publishing_is_seen_by_others_and_remembers_the_labels(registry):
    name = publish(registry, {"a": "digest"})
    again = Registry(MODEL, registry.model_dir)
    assert again.published.version == name
    assert again.seen == {"a": "digest"}
    assert in_use(registry) == name.encode()


def test_going_back(registry):
    first, second = publish(registry, {"a": "1"}), publish(registry, {"a": "1", "b": "2"})
    registry.use(first)
    assert registry.seen == {"a": "1"}
    assert in_use(registry) == first.encode()
    registry.use(None)
    assert in_use(registry) == b"start"
    registry.use(second)
    assert in_use(registry) == second.encode()
    with pytest.raises(CheckpointError, match="learned-1, learned-2, base"):
        registry.use("learned-9")


def test_old_versions_go_but_never_the_one_in_use(registry, monkeypatch):
    monkeypatch.setattr(module, "KEPT_VERSIONS", 3)
    names = [publish(registry) for _ in range(5)]
    assert [v.version for v in registry.versions] == names[-3:]
    assert sorted(p.stem for p in registry.folder.glob("learned-*.pt")) == names[-3:]
    assert registry.published.version == names[-1]


@pytest.mark.parametrize("step", ["save", "use"])
def test_ended_while_publishing_the_old_version_stays_in_use(registry, monkeypatch, step):
    first = publish(registry)
    second = registry.next_name
    registry.begin({})
    registry.path(second).write_bytes(b"new")

    def killed(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, step, killed)
    with pytest.raises(KeyboardInterrupt):
        registry.publish(Version(second, first, 0.0, {}, []))
    assert in_use(registry) == first.encode()
    assert Registry(MODEL, registry.model_dir).published.version == first


def test_one_training_at_a_time(registry):
    other = Registry(MODEL, registry.model_dir)
    with registry.locked(), pytest.raises(ConfigurationError, match="Another training"), other.locked():
        pass
    with Registry(MODEL, registry.model_dir).locked():
        pass


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"format": 1}', '{"format": 1, "versions": [{"name": "x"}], "held_back": {}, "count": 1}'],
)
def test_a_damaged_registry_is_named(registry, content):
    publish(registry)
    (registry.folder / "registry.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"registry\.json is damaged.*and published\.pt beside it"):
        Registry(MODEL, registry.model_dir)
    assert os.path.exists(checkpoint_path(MODEL, registry.model_dir))


def test_without_its_file_learning_starts_anew_from_the_first_weights(registry, caplog):
    publish(registry)
    (registry.folder / "registry.json").unlink()
    moved = Registry(MODEL, registry.model_dir)
    with moved.locked():
        assert in_use(moved) == b"start"
        assert moved.published is None
    assert "learning starts anew, from the first weights" in caplog.text


def test_whether_a_training_is_under_way(registry):
    registry.folder.mkdir(parents=True)
    assert not training_under_way(registry.folder)
    with registry.locked():
        assert training_under_way(registry.folder)
    assert not training_under_way(registry.folder)
