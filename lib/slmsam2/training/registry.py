"""The versions of a model that were learnt from users' labels, and which labels each has seen.

Everything lies in one folder beside the weights that the model starts from, ``checkpoints/learned/<model>``:
``<version>.pt``, ``registry.json``, and ``published.pt``, a link to the version in use. The link is the one truth
about what is published: replacing it is the one step that publishes.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.files import write_json
from slmsam2.modeling.build import learnt_folder, published_path, starting_path

logger = logging.getLogger(__name__)

KEPT_VERSIONS = 10
LOCK = ".lock"
LOCK_SECONDS = 1.0  # for a look at whether it is taken, which takes it for a moment
FORMAT = 1


@dataclass(frozen=True)
class Version:
    """What is known of a learnt version.

    Attributes:
        version: its name, "learned-<number>".
        parent: the version it started from; None for the weights that came with the model.
        created: seconds since 1970.
        labels: image id -> digest of every label that it or its forebears have seen and that still exists.
        structures: names in these labels.
        metrics: of the validation: ``best_metric`` and ``eval``, see :class:`slmsam2.training.progress.Progress`.
        settings: preset, steps, device.
    """

    version: str
    parent: str | None
    created: float
    labels: dict[str, str]
    structures: list[str]
    metrics: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def training_under_way(folder: Path) -> bool:
    """Whether a training is, in whatever process and on whatever machine that shares the folder of learnt versions."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


class Registry:
    """The learnt versions of one model.

    Args:
        model: its name.
        model_dir: see :func:`slmsam2.modeling.model_directory`.

    Raises:
        ConfigurationError: the registry's file is damaged or from a newer release.
    """

    def __init__(self, model: str, model_dir: str | Path | None = None) -> None:
        self.model, self.model_dir = model, model_dir
        self.folder = learnt_folder(model, model_dir)
        self._path = self.folder / "registry.json"
        self._link = published_path(model, model_dir)
        self.versions: list[Version] = []
        self.held_back: dict[str, bool] = {}
        """image id -> whether its label is kept for validation; decided once."""
        self.count = 0
        """Trainings ever begun; each gives a version its number."""
        self.given: dict[str, str] = {}
        """image id -> by which a change of its label is noticed, of all labels there were when learning last began."""
        if self._path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            content = json.loads(self._path.read_text())
            if content["format"] != FORMAT:
                raise ConfigurationError(
                    f"{self._path} was written by another release; this one reads format {FORMAT}."
                )
            self.versions = [Version(**entry) for entry in content["versions"]]
            self.held_back, self.count = dict(content["held_back"]), int(content["count"])
            self.given = dict(content.get("given", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self._path} is damaged: {error!r}. Move it away, and {self._link.name} beside it, to start anew."
            ) from error

    def save(self) -> None:
        """Write the registry's file."""
        write_json(
            self._path,
            {
                "format": FORMAT,
                "model": self.model,
                "count": self.count,
                "given": self.given,
                "held_back": self.held_back,
                "versions": [asdict(version) for version in self.versions],
            },
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings of this model out; the system frees the lock of a process that is killed.

        Raises:
            ConfigurationError: another training is under way.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise ConfigurationError(
                f"Another training of {self.model} is under way. Wait for it, or stop it first."
            ) from error
        try:
            if self._link.is_symlink() and not self._path.is_file():
                logger.warning("%s is not there: learning starts anew, from the first weights", self._path)
                self.use(None)
            yield
        finally:
            lock.release()

    @property
    def published(self) -> Version | None:
        """The version in use; None while it is the one that came with the model."""
        name = Path(os.readlink(self._link)).stem if self._link.is_symlink() else None
        return next((version for version in self.versions if version.version == name), None)

    @property
    def seen(self) -> dict[str, str]:
        """image id -> digest of the labels that the published version has seen."""
        return self.published.labels if self.published else {}

    def path(self, version: str | None) -> Path:
        """The weights of a version; None stands for the ones that came with the model."""
        return starting_path(self.model, self.model_dir) if version is None else self.folder / f"{version}.pt"

    @property
    def plan_path(self) -> Path:
        """What the training under way is about, beside its state; there until it has come to its end."""
        return self.folder / "run" / "plan.json"

    @property
    def next_name(self) -> str:
        """Of the version that the training which begins next is to give."""
        return f"learned-{self.count + 1}"

    def begin(self, given: Mapping[str, str]) -> None:
        """Note that a training begins.

        Args:
            given: image id -> by which a change of its label is noticed, of all labels there are.
        """
        self.count, self.given = self.count + 1, dict(given)
        self.save()

    def publish(self, version: Version) -> None:
        """Put a version, whose weights lie at :meth:`path`, into use; the oldest ones beyond KEPT_VERSIONS go."""
        self.versions = [*(v for v in self.versions if v.version != version.version), version]
        dropped = self.versions[:-KEPT_VERSIONS]
        self.versions = self.versions[-KEPT_VERSIONS:]
        self.save()
        self.use(version.version)
        for old in dropped:
            self.path(old.version).unlink(missing_ok=True)

    def use(self, version: str | None) -> None:
        """Make a version the published one; None for the weights that came with the model.

        Raises:
            CheckpointError: there is no such version.
        """
        if version is None:
            self._link.unlink(missing_ok=True)
            return
        known = [v.version for v in self.versions]
        if version not in known or not self.path(version).is_file():
            raise CheckpointError(
                f"There is no version {version!r}. Known: {', '.join(known) or 'none'}, base."
            )
        temporary = self.folder / f".published.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(f"{version}.pt")
        os.replace(temporary, self._link)
        logger.info("%s %s is in use from now on", self.model, version)
