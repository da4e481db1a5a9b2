"""The loaded network: kept between requests, loaded again when its file changes."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmsam2.errors import CheckpointError
from slmsam2.modeling import QUALITY, SLMSAM2, build_model, checkpoint_path, read_checkpoint
from slmsam2.modeling.build import starting_path
from slmsam2.server.running.line import Turns

logger = logging.getLogger(__name__)

Stamp = tuple[Path, int, int]  # file behind any link, modification time (ns), size (bytes)


@dataclass(frozen=True)
class _Held:
    network: SLMSAM2
    tried: Stamp | None  # the file that was last looked at, whether it loaded or not


class ModelStore:
    """One model on each device, and for each speed, that is asked for.

    Args:
        name: model configuration and stem of its weights file.
        model_dir: see :func:`slmsam2.modeling.model_directory`.
    """

    def __init__(self, name: str, model_dir: Path | None = None) -> None:
        self.name = name
        self.model_dir = model_dir
        self.on_change: Callable[[], Any] = lambda: None  # called when other weights than before are in use
        self._held: dict[tuple[str, str], _Held] = {}  # by device and speed
        self._loading = threading.Lock()
        self._facts_of: tuple[Stamp | None, dict[str, str]] | None = None
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @property
    def path(self) -> Path:
        """The weights to use now; another file once a training has published one."""
        return checkpoint_path(self.name, self.model_dir)

    def busy(self, device: str) -> threading.Lock:
        """The lock to hold while computing on a device: one inference at a time."""
        return self._busy[device]

    def turns(self, device: str) -> Turns:
        """The order of inferences on a device."""
        return self._turns[device]

    @contextmanager
    def idle(self, device: str) -> Iterator[None]:
        """Have a device while nobody else wants it, as long as the context is open: for what can wait."""
        with self._turns[device].take_idle(), self._busy[device]:
            yield

    def get(self, device: str, speed: str = QUALITY) -> SLMSAM2:
        """The network on a torch device, of the newest weights that load; ``speed``: see :mod:`slmsam2.modeling.speed`.

        A new file that does not load (or a file that is gone) leaves the network in use, with a warning.

        Raises:
            CheckpointError: no weights could be loaded so far.
        """
        with self._loading:
            stamp = self._stamp()
            held = self._held.get((device, speed))
            if held is None or held.tried != stamp:
                held = _Held(self._load(device, speed, held), stamp)
                self._held[device, speed] = held
            return held.network

    def facts(self) -> dict[str, str]:
        """name, version and how it was trained, of the weights file as it is now; empty strings if it does not load."""
        stamp = self._stamp()
        if self._facts_of is None or self._facts_of[0] != stamp:
            self._facts_of = stamp, _facts(self.name, self.path)
        return self._facts_of[1]

    def _load(self, device: str, speed: str, held: _Held | None) -> SLMSAM2:
        try:
            network = self._build(self.path, device, speed)
        except CheckpointError as error:
            if held is not None:
                logger.warning(
                    "Still using version %s on %s: %s", held.network.info["version"], device, error
                )
                return held.network
            start = starting_path(self.name, self.model_dir)
            if self.path == start:
                raise
            logger.warning("The weights that were learnt do not load, so the first ones are used: %s", error)
            network = self._build(start, device, speed)
        logger.info("Loaded %s version %s on %s", self.name, network.info["version"], device)
        if held is not None:
            self.on_change()
        return network

    def _build(self, path: Path, device: str, speed: str) -> SLMSAM2:
        return build_model(self.name, checkpoint=path, device=device, model_dir=self.model_dir, speed=speed)

    def _stamp(self) -> Stamp | None:
        try:
            path = self.path.resolve(strict=True)
            stat = path.stat()
        except OSError:
            return None
        return path, stat.st_mtime_ns, stat.st_size


def _facts(name: str, path: Path) -> dict[str, str]:
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError:
        return {"name": name, "version": "", "trained": ""}
    return {"name": name, "version": checkpoint.version, "trained": _how_trained(checkpoint.trained)}


def _how_trained(trained: Mapping[str, Any]) -> str:
    """What weights were trained on, in a few words, from their metadata; of a mean, what each part was trained on."""
    parts = [_how_trained(part["trained"]) for part in trained.get("mean_of", ())]
    if parts:
        return "; ".join(dict.fromkeys(part for part in parts if part))
    volumes = trained.get("volumes")
    return f"trained on {volumes} volumes" if volumes else str(trained.get("data", ""))
