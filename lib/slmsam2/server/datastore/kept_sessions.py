"""MONAI Label's sessions, so kept that a crash leaves none behind that cannot be read, or be removed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from slmsam2.files import write_whole

logger = logging.getLogger(__name__)


class KeptSessions(Sessions):
    """Sessions in a folder, each in one of its own with its image and ``meta.info``, which is written in one piece.

    MONAI Label's own fails at a session that was never finished: for good, and for all that would be removed after it.

    Args:
        folder: where sessions are kept.
        expiry: seconds after its last use until a session is removed.
        opened: is told the image of each new session.
    """

    def __init__(self, folder: str, expiry: int, opened: Callable[[Path], None] = lambda image: None) -> None:
        super().__init__(folder, expiry)
        self._opened = opened

    def __bool__(self) -> bool:
        """There are sessions on disk, too: MONAI Label looks for expired ones only where this is true."""
        return True

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """MONAI Label's; the new session's image is announced."""
        name, info = super().add_session(data_file, expiry, uncompress, session_id)
        self._opened(Path(info.image))
        return name, info

    def get_session(
        self, session_id: str, update_ts: bool = True, fetch_cache: bool = True
    ) -> SessionInfo | None:
        """The session; None: there is none, or it was never finished."""
        try:
            return super().get_session(session_id, update_ts, fetch_cache)
        except ValueError as error:
            logger.warning("The session %s cannot be read: %s", session_id, error)
            return None

    def remove_expired(self) -> int:
        """Remove what nobody has used for as long as it was to be kept, and what was never finished in that time.

        Returns:
            How many were removed.
        """
        removed = 0
        for folder in Path(self.store_path).glob("*/"):
            try:
                session = self.get_session(folder.name, update_ts=False, fetch_cache=False)
            except OSError as error:
                logger.warning(
                    "Whether the session %s is to be removed cannot be told: %s", folder.name, error
                )
                continue
            if session is None:
                last, kept = self._changed(folder), self.expiry
            else:
                last, kept = session.last_access_ts, session.expiry
            if kept > 0 and last + kept < time.time():
                self.remove_session(folder.name)
                removed += 1
        return removed

    @staticmethod
    def _changed(folder: Path) -> float:
        """When a folder changed last, seconds since 1970; now for one that has just gone."""
        try:
            return folder.stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def _write_meta_info(self, session_id: str, session_info: Any) -> None:
        text = json.dumps(vars(session_info))
        write_whole(
            Path(self.store_path) / session_id / "meta.info", lambda stream: stream.write(text.encode())
        )
