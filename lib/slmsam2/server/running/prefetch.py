"""Images that somebody has opened are prepared while nobody waits for the device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from slmsam2.engine import Workspace
from slmsam2.engine.prefetch import encode_ahead, sees_whole_slices
from slmsam2.errors import SlmSam2Error
from slmsam2.server.configuration import Configuration
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.running.background import Background
from slmsam2.server.running.devices import resolve_device
from slmsam2.server.running.models import ModelStore
from slmsam2.server.running.shortage import room_for
from slmsam2.volume import parse_window

logger = logging.getLogger(__name__)

MOST_WAITING = 4  # images; of more, those opened first are left out


class Prefetcher:
    """Reads opened images, and computes their features, slice by slice, each in a turn that nobody else wants.

    Not for a network that looks at regions around what is painted (the embedded model): these are not known yet.

    Args:
        models: where the network comes from.
        workspace: keeps image and features.
        conf: as for :class:`slmsam2.server.infer.SlmSam2Infer`.
    """

    def __init__(
        self,
        models: ModelStore,
        workspace: Workspace,
        conf: Configuration,
    ) -> None:
        self._models, self._workspace, self._conf = models, workspace, conf
        self._opened: Background[Callable[[], str | Path]] = Background("prefetch", self._work, MOST_WAITING)

    def opened(self, find: Callable[[], str | Path]) -> None:
        """Prepare an image as soon as there is time.

        Args:
            find: gives its file or folder; called in the prefetcher's own thread, as an archive's image is fetched.
        """
        self._opened.add(find)

    def _work(self, opened: Sequence[Callable[[], str | Path]]) -> None:
        for find in opened:
            try:
                self._prepare(find)
            except (SlmSam2Error, OSError, LookupError) as error:
                logger.info("An opened image cannot be prepared: %s", error)
            except Exception:  # archives and converters raise anything
                logger.exception("An opened image cannot be prepared")

    def _prepare(self, find: Callable[[], str | Path]) -> None:
        device = resolve_device(self._conf.device)
        network = self._models.get(device, self._conf.speed)
        path = Path(find())
        with room_for(inspect(path, self._conf.most_voxels), self._workspace):
            volume = self._workspace.read(path)
        if not sees_whole_slices(network):
            return
        slices = encode_ahead(network, volume, self._workspace, parse_window(None, self._conf.preset))
        done = 0
        while True:
            with self._models.idle(device):
                if next(slices, None) is None:
                    break
            done += 1
        logger.info("Prepared %d slices of %s", done, path.name)
