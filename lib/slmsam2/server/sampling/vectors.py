"""The images' vectors: computed a few at a time, kept in memory and on disk."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import Datastore

from slmsam2.engine.embedding import encoder_fingerprint, volume_vector
from slmsam2.errors import SlmSam2Error
from slmsam2.files import write_whole
from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.build import learnt_folder
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.shortage import is_for_now, room_for
from slmsam2.volume import read_volume

logger = logging.getLogger(__name__)

SECONDS_PER_REQUEST = 10.0  # no new image is begun after this
MOST_VECTORS = 20_000  # kept; 20 MB for the embedded model


class VectorStore:
    """One vector per image of the datastore, by the image encoder in use.

    They are kept in one small file per image encoder under ``checkpoints/learned/<model>/features``, under a digest of
    the image file's path, size and modification time. Images are read one after the other; only vectors stay.

    Args:
        models: where the network comes from.
        device: torch or display name; None: the best there is.
        seconds: time for new images in one request.
    """

    def __init__(
        self, models: ModelStore, device: str | None = None, seconds: float = SECONDS_PER_REQUEST
    ) -> None:
        self._models = models
        self._device = device
        self._seconds = seconds
        self._lock = threading.Lock()
        self._encoder: str | None = None  # fingerprint of the image encoder that made the vectors
        self._vectors: dict[str, np.ndarray] = {}
        self._unreadable: set[str] = set()
        self._fingerprints: weakref.WeakKeyDictionary[SLMSAM2, str] = weakref.WeakKeyDictionary()

    @property
    def folder(self) -> Path:
        """Where the vectors are kept on disk."""
        return learnt_folder(self._models.name, self._models.model_dir) / "features"

    def vectors(self, images: Sequence[str], datastore: Datastore) -> dict[str, np.ndarray]:
        """Vectors of the images, as far as there are any or there is time to compute them.

        Missing ones are computed in the order given, at least one unless inferences keep the device busy. Images that
        cannot be read are left out with a warning, until their file changes, or, where memory ran
        short, for this time.

        Returns:
            image id -> float32 (D,) of length 1.

        Raises:
            CheckpointError: there are no weights.
        """
        deadline = time.monotonic() + self._seconds
        device = resolve_device(self._device)
        with self._lock:
            network, busy = self._models.get(device), self._models.busy(device)
            self._use(network)
            keys = {image: _key_at_hand(datastore, image) for image in images}
            missing = [image for image, key in keys.items() if not self._is_known(key)]
            new = 0
            for number, image in enumerate(missing):
                if number and time.monotonic() > deadline:
                    logger.info("%d images are left for the next request", len(missing) - number)
                    break
                keys[image] = self._compute(network, busy, deadline, datastore, image)
                new += keys[image] in self._vectors
            if new:
                self._save()
            return {
                i: self._vectors[key] for i, key in keys.items() if key is not None and key in self._vectors
            }

    def _is_known(self, key: str | None) -> bool:
        return key is not None and (key in self._vectors or key in self._unreadable)

    def _compute(
        self, network: SLMSAM2, busy: threading.Lock, deadline: float, datastore: Datastore, image: str
    ) -> str | None:
        """Read an image (an archive's is fetched) and keep its vector; returns its key, None without one."""
        key = None
        try:
            path = Path(datastore.get_image_uri(image))
            key = _key(path)
            with room_for(inspect(path)):
                volume = read_volume(path)
            if not busy.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return None
            try:
                self._vectors[key] = volume_vector(network, volume)
            finally:
                busy.release()
        except Exception as error:  # archives and converters raise anything
            expected = isinstance(error, (SlmSam2Error, OSError, LookupError)) or is_for_now(error)
            logger.warning("Image %s cannot be compared with others: %s", image, error, exc_info=not expected)
            if key is not None and not is_for_now(error):
                self._unreadable.add(key)
        return key

    def _use(self, network: SLMSAM2) -> None:
        """Make the vectors of this network's image encoder the present ones."""
        if network not in self._fingerprints:
            self._fingerprints[network] = encoder_fingerprint(network)
        fingerprint = self._fingerprints[network]
        if fingerprint != self._encoder:
            self._encoder = fingerprint
            self._vectors = _load(self._file)
            self._unreadable = set()

    @property
    def _file(self) -> Path:
        return self.folder / f"{str(self._encoder)[:16]}.npz"

    def _save(self) -> None:
        """Write the newest vectors; those of earlier image encoders go."""
        self._vectors = dict(list(self._vectors.items())[-MOST_VECTORS:])
        content = {"keys": np.array(list(self._vectors)), "vectors": np.stack(list(self._vectors.values()))}
        try:
            write_whole(self._file, lambda stream: np.savez(stream, **content))
            for other in self.folder.glob("[0-9a-f]*.npz"):
                if other != self._file:
                    other.unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "Vectors of images are kept in memory only, %s is not writable: %s", self.folder, error
            )


def _load(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with np.load(path) as file:
            return dict(zip(file["keys"].tolist(), file["vectors"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("The vectors in %s cannot be read and are computed again: %s", path, error)
        return {}


def _key_at_hand(datastore: Datastore, image: str) -> str | None:
    """The key of an image whose file is on this machine; nothing is fetched."""
    if not isinstance(datastore, LocalDatastore):
        return None
    # A DICOMweb datastore's own method would download the image; its files lie where local ones do.
    uri = LocalDatastore.get_image_uri(datastore, image)
    try:
        return _key(Path(uri)) if uri else None
    except OSError:
        return None


def _key(path: Path) -> str:
    """A digest by which an image's content is known: its path, size and modification time."""
    stat = path.stat()
    return hashlib.sha256(f"{path}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:32]


def interleaved(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Both in random order, one from each in turn, so that a few of each come early."""
    shuffled = [random.sample(list(part), len(part)) for part in (first, second)]
    longest = max(len(part) for part in shuffled)
    return [part[index] for index in range(longest) for part in shuffled if index < len(part)]
