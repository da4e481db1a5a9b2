"""The DICOM SEG objects of a PACS: which image each belongs to, which is the newest, what its segments are."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from slmsam2.server.datastore.creators import creator_in
from slmsam2.server.datastore.listed import Listed
from slmsam2.server.datastore.pacs_client import is_of_one

logger = logging.getLogger(__name__)

TRUSTED_FOR = 120.0  # seconds, without being listed by the archive


@dataclass(frozen=True)
class Segmentation:
    """A SEG object.

    Attributes:
        study, series: its own UIDs.
        image: UID of the image series it was drawn on.
        made: date and time of its content, as DICOM writes them: later ones sort behind.
        segments: ``[{"name", "id"}]``, the way clients send ``label_info``.
        creator: who made it, "" if it does not say.
    """

    study: str
    series: str
    image: str
    made: str
    segments: list[dict[str, Any]] = field(default_factory=list, compare=False)
    creator: str = field(default="", compare=False)

    @property
    def origin(self) -> dict[str, str]:
        """Who made it and when, as far as it says: ``creator``, and ``made``, a date or a date and time as ISO 8601
        writes them, by the clock of whoever made it."""
        known = {"creator": self.creator, "made": _iso(self.made)}
        return {key: value for key, value in known.items() if value}


class Segmentations:
    """Finds SEG objects by DICOMweb. Metadata are read once per object: an object never changes.

    One that cannot be read, or says too little, is left out, with one warning.

    An archive may list an object only a while after it took it. What was stored from here counts until then, for two
    minutes at most.
    """

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client
        self._known: dict[str, Segmentation | None] = {}
        self._warned: set[str] = set()
        self._stored: dict[str, tuple[Segmentation, float]] = {}  # image -> and until when it is trusted
        self._listed = Listed(self._look)

    def newest(self) -> dict[str, Segmentation]:
        """image series UID -> its newest SEG object."""
        stored = dict(self._stored)  # before the list: what is taken out meanwhile is in the list then
        newest, listed = self._listed.get()
        now = time.monotonic()
        unlisted = {
            image: each
            for image, (each, until) in stored.items()
            if now < until and each.series not in listed
        }
        return {**newest, **unlisted}

    def stored(self, seg: Dataset) -> Segmentation | None:
        """Count a SEG object that the PACS has just taken; None: it says too little."""
        found = _segmentation(str(seg.StudyInstanceUID), str(seg.SeriesInstanceUID), seg)
        if found is not None:
            self._stored[found.image] = found, time.monotonic() + TRUSTED_FOR
        self.forget()
        return found

    def deleted(self, segmentation: Segmentation) -> None:
        """Count a SEG object no more that the PACS has just deleted."""
        self._stored.pop(segmentation.image, None)
        self.forget()

    def forget(self) -> None:
        """Ask the PACS again next time: something has changed there."""
        self._listed.forget()

    def _look(self) -> tuple[dict[str, Segmentation], set[str]]:
        """The newest SEG object of each image, and the UIDs of all."""
        found = self._client.search_for_series(search_filters={"Modality": "SEG"})
        series = [Dataset.from_json(entry) for entry in found]
        known = [self._read(each) for each in series]
        seen = {
            uid: number for number, uid in enumerate(self._known)
        }  # of two of one second the later one found
        ordered = sorted(
            (each for each in known if each is not None), key=lambda each: (each.made, seen[each.series])
        )
        listed = {each.series for each in ordered}
        for image, (each, _) in list(self._stored.items()):
            if each.series in listed:
                self._stored.pop(image, None)
        return {each.image: each for each in ordered}, listed

    def _read(self, listed: Dataset) -> Segmentation | None:
        """None: it is to be left out.

        Raises:
            requests.RequestException: the archive does not answer, is busy, or lets nobody in.
        """
        study, series = str(listed.get("StudyInstanceUID")), str(listed.get("SeriesInstanceUID"))
        if series not in self._known:
            try:
                metadata = self._client.retrieve_series_metadata(study, series)
                self._known[series] = _segmentation(study, series, Dataset.from_json(metadata[0]))
            except Exception as error:
                if not is_of_one(error):
                    raise
                self._warn(series, error)
                return None
        return self._known[series]

    def _warn(self, series: str, error: Exception) -> None:
        """Once; it is read again all the same when the archive is asked next: it may be arriving there just now."""
        if series not in self._warned:
            self._warned.add(series)
            logger.warning("The SEG object %s of the PACS is left out, it cannot be read: %r", series, error)


def _segmentation(study: str, series: str, data: Dataset) -> Segmentation | None:
    referenced = data.get("ReferencedSeriesSequence")
    if not referenced:
        return None
    made = f"{data.get('ContentDate') or data.get('SeriesDate') or ''}"
    made += f"{data.get('ContentTime') or data.get('SeriesTime') or ''}"
    segments = [_segment(each) for each in data.get("SegmentSequence", [])]
    image = str(referenced[0].SeriesInstanceUID)
    return Segmentation(study, series, image, made, segments, creator_in(data))


def _iso(made: str) -> str:
    """A date and time of DICOM, or the date alone, as ISO 8601 writes them; "" for what is neither."""
    for length, form in ((14, "%Y%m%d%H%M%S"), (8, "%Y%m%d")):
        try:
            moment = datetime.strptime(made[:length], form)
        except ValueError:
            continue
        return moment.isoformat() if length > 8 else moment.date().isoformat()
    return ""


def _segment(segment: Dataset) -> dict[str, Any]:
    return {"name": str(segment.get("SegmentLabel", "")), "id": int(segment.SegmentNumber)}
