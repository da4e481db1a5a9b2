"""The DICOM SEG objects of a PACS: which image each belongs to, which is the newest, what its segments are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from slmsam2.server.listed import Listed


@dataclass(frozen=True)
class Segmentation:
    """A SEG object.

    Attributes:
        study, series: its own UIDs.
        image: UID of the image series it was drawn on.
        made: date and time of its content, as DICOM writes them: later ones sort behind.
        segments: ``[{"name", "id"}]``, the way clients send ``label_info``.
    """

    study: str
    series: str
    image: str
    made: str
    segments: list[dict[str, Any]] = field(default_factory=list, compare=False)


class Segmentations:
    """Finds SEG objects by DICOMweb. Metadata are read once per object: an object never changes."""

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client
        self._known: dict[str, Segmentation | None] = {}
        self._listed = Listed(self._look)

    def newest(self) -> dict[str, Segmentation]:
        """image series UID -> its newest SEG object."""
        return self._listed.get()

    def forget(self) -> None:
        """Ask the PACS again next time: something was saved or deleted."""
        self._listed.forget()

    def _look(self) -> dict[str, Segmentation]:
        found = self._client.search_for_series(search_filters={"Modality": "SEG"})
        series = [Dataset.from_json(entry) for entry in found]
        known = [self._read(str(s.StudyInstanceUID), str(s.SeriesInstanceUID)) for s in series]
        seen = {
            uid: number for number, uid in enumerate(self._known)
        }  # of two of one second the later one found
        ordered = sorted(
            (each for each in known if each is not None), key=lambda each: (each.made, seen[each.series])
        )
        return {each.image: each for each in ordered}

    def _read(self, study: str, series: str) -> Segmentation | None:
        """None: it does not say which series it belongs to."""
        if series not in self._known:
            metadata = self._client.retrieve_series_metadata(study, series)
            self._known[series] = _segmentation(study, series, Dataset.from_json(metadata[0]))
        return self._known[series]


def _segmentation(study: str, series: str, data: Dataset) -> Segmentation | None:
    referenced = data.get("ReferencedSeriesSequence")
    if not referenced:
        return None
    made = f"{data.get('ContentDate') or data.get('SeriesDate') or ''}"
    made += f"{data.get('ContentTime') or data.get('SeriesTime') or ''}"
    segments = [_segment(each) for each in data.get("SegmentSequence", [])]
    return Segmentation(study, series, str(referenced[0].SeriesInstanceUID), made, segments)


def _segment(segment: Dataset) -> dict[str, Any]:
    return {"name": str(segment.get("SegmentLabel", "")), "id": int(segment.SegmentNumber)}
