"""Image series of a PACS on this machine's disk: whole, or not there."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import requests
from dicomweb_client import DICOMwebClient
from filelock import FileLock, Timeout
from monailabel.datastore.utils.dicom import dicom_web_download_series
from pydicom.dataset import Dataset

from slmsam2.errors import TransferError

logger = logging.getLogger(__name__)

LOCKS = 64  # for all series: of two that share one, one waits
ARRIVING = ".arriving"  # ending of a folder that is being filled


class FetchedSeries:
    """One folder of DICOM files for each series that was fetched.

    Several threads and processes may use it. A folder is filled under another name and moved into place.

    Args:
        client: of the PACS.
        folder: where the folders lie, each under the UID of its series.
        by_frame: ask for metadata and frames instead of whole files.
    """

    def __init__(self, client: DICOMwebClient, folder: Path, by_frame: bool) -> None:
        self._client, self._folder, self._by_frame = client, folder, by_frame
        self._instances: dict[str, int] = {}  # that the archive has, as far as it said; 0: it did not
        self._locks = [FileLock(folder / f".series-{number}.lock") for number in range(LOCKS)]
        for left in folder.glob(f".*{ARRIVING}"):
            self._remove_unless_arriving(left)

    def alone(self, series: str) -> FileLock:
        """To be held while a series is fetched or what was made of it is replaced; a thread may take it again."""
        return self._locks[crc32(series.encode()) % LOCKS]

    def folder(self, series: str) -> Path:
        """Where the files of a series lie once they were fetched."""
        return self._folder / series

    def note(self, found: Iterable[Dataset]) -> None:
        """Take note of how many instances the series have that the archive listed just now."""
        for each in found:
            instances = each.get("NumberOfSeriesRelatedInstances")
            self._instances[str(each.SeriesInstanceUID)] = int(instances or 0)

    def is_here(self, series: str) -> bool:
        """Whether there are any files of it."""
        return self._files(self.folder(series)) > 0

    def is_whole(self, series: str) -> bool:
        """Whether all files of a series are here, by what the archive said last; it is asked if it never was.

        What the archive does not count, or cannot be asked about, is trusted to be whole.
        """
        if series not in self._instances:
            self._ask(series)
        return self.is_here(series) and self._files(self.folder(series)) >= self._instances[series]

    def is_whole_in(self, series: str, image: Path) -> bool:
        """Whether an image was made of all files of a series: they are here, and none came after it was made."""
        try:
            return self.is_whole(series) and self.folder(series).stat().st_mtime <= image.stat().st_mtime
        except FileNotFoundError:  # it is being replaced
            return False

    def fetch(self, series: str) -> None:
        """Fetch a series, in place of what is here of it.

        Raises:
            LookupError: the archive has no such series.
            TransferError: it sent fewer files than it says it has; what was here stays.
            requests.RequestException: the archive does not answer, or refuses.
        """
        found = self._search(series)
        if not found:
            raise LookupError(f"The image archive has no series {series}")
        arriving = self._folder / f".{series}{ARRIVING}"
        shutil.rmtree(arriving, ignore_errors=True)
        try:
            study = str(found[0].StudyInstanceUID)
            dicom_web_download_series(study, series, str(arriving), self._client, self._by_frame)
            self._check_whole(series, self._files(arriving))
            shutil.rmtree(self.folder(series), ignore_errors=True)
            arriving.rename(self.folder(series))
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _check_whole(self, series: str, files: int) -> None:
        expected = max(self._instances[series], 1)
        if files < expected:
            raise TransferError(
                f"The image archive (PACS) sent {files} of the {expected} files of this series, so it is not opened. "
                "Try again in a minute; if it stays so, look into the archive's log."
            )

    def _ask(self, series: str) -> None:
        try:
            self._search(series)
        except requests.RequestException as error:
            logger.warning("Whether series %s is whole here cannot be asked: %s", series, error)
        self._instances.setdefault(series, 0)

    def _search(self, series: str) -> list[Dataset]:
        listed = self._client.search_for_series(search_filters={"SeriesInstanceUID": series})
        found = [each for each in map(Dataset.from_json, listed) if each.SeriesInstanceUID == series]
        self.note(found)
        return found

    def _remove_unless_arriving(self, left: Path) -> None:
        """Remove what a process left that was ended while it fetched; another one may be fetching just now."""
        lock = self.alone(left.name[1 : -len(ARRIVING)])
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(left, ignore_errors=True)
        except Timeout:
            logger.info("%s is being filled by another process", left)

    @staticmethod
    def _files(folder: Path) -> int:
        try:
            return len(os.listdir(folder))
        except FileNotFoundError:
            return 0
