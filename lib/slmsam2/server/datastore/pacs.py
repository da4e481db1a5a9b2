"""A PACS reached by DICOMweb: what MONAI Label's datastore leaves open.

It lists CT only; takes any one of several SEG objects of a series; gives labels back cropped; lists may be two hours
old; half a series that a killed server left is taken for the image; and saving an empty label, downloading and
deleting a label end in errors without a word.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import requests
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.utils.convert import dicom_to_nifti, nifti_to_dicom_seg
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.exception import LabelNotFoundException
from pydicom import dcmread
from pydicom.dataset import Dataset

from slmsam2.errors import ArchiveError, PromptError, TransferError
from slmsam2.server.datastore.creators import creator_of
from slmsam2.server.datastore.dicom_seg import find_dcmqi
from slmsam2.server.datastore.fetched import FetchedSeries
from slmsam2.server.datastore.folder import FolderDatastore
from slmsam2.server.datastore.listed import Listed
from slmsam2.server.datastore.pacs_client import bound_waiting, is_of_one
from slmsam2.server.datastore.reviews import FINAL
from slmsam2.server.datastore.segmentations import Segmentation, Segmentations
from slmsam2.server.requests.painted import read_saved
from slmsam2.values import present_values
from slmsam2.volume import label_on_grid, read_label, read_volume, write_label

logger = logging.getLogger(__name__)

UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # of DICOM; it becomes a folder's name here
NOTED = ("SeriesInstanceUID", "Modality", "PatientID", "StudyInstanceUID")  # of a SEG object
MOST_CHARACTERS = 64  # of a series description in DICOM
FILTER = "MONAI_LABEL_DICOMWEB_SEARCH_FILTER"


def search_filters(modalities: Sequence[str]) -> list[dict[str, Any]]:
    """What to ask the PACS for: MONAI Label's search filter if one was set, else series of these modalities."""
    given = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
    if given != type(settings).model_fields[FILTER].default:
        return [given]
    return [{"Modality": modality} for modality in modalities]


class PacsDatastore(DICOMWebDatastore, FolderDatastore):
    """Images of a PACS, with labels as DICOM SEG.

    Args:
        stock: MONAI Label's own datastore for the same PACS; it is not to be used any more.
        modalities: what to list when no search filter is set.
    """

    has_archive = True  # the PACS keeps each SEG

    def __init__(self, stock: DICOMWebDatastore, modalities: Sequence[str]) -> None:
        stock._observer.stop()  # two that watch one folder would write over each other
        bound_waiting(stock._client)
        self._segmentations = Segmentations(stock._client)
        self._images = Listed(self._search)
        self._filters = search_filters(modalities)
        DICOMWebDatastore.__init__(
            self,
            client=stock._client,
            search_filter={},
            cache_path=str(Path(stock._datastore_path).parent),
            fetch_by_frame=stock._fetch_by_frame,
            convert_to_nifti=True,
        )
        self._fetched = FetchedSeries(stock._client, Path(self._datastore_path), stock._fetch_by_frame)

    def list_images(self) -> list[str]:
        """UIDs of the image series, as they were ten seconds ago at most."""
        return list(self._images.get())

    def _search(self) -> list[str]:
        """UIDs of the image series; SEG objects and the like are no images."""
        found = [e for f in self._filters for e in self._client.search_for_series(search_filters=f)]
        series = [Dataset.from_json(entry) for entry in found]
        self._fetched.note(series)
        images = [
            str(s.SeriesInstanceUID) for s in series if s.get("Modality") not in ("SEG", "SR", "RTSTRUCT")
        ]
        return list(dict.fromkeys(images))

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image, fetched if need be; "" for what is no UID of a series.

        Raises:
            LookupError: the PACS has no such series.
            TransferError: the PACS sends only some of its files.
            requests.RequestException: the PACS does not answer, or refuses.
        """
        if not UID.fullmatch(image_id):
            return ""
        path = Path(os.path.realpath(self._datastore_path)) / f"{image_id}.nii.gz"
        if not self._is_ready(image_id, path):
            with self._fetched.alone(image_id):
                if not self._is_ready(image_id, path):
                    self._make_ready(image_id)
        return str(path)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self._segmentations.newest()
        return [image for image in self.list_images() if image in labelled]

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        labelled = self._segmentations.newest()
        return [image for image in self.list_images() if image not in labelled]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        self._refresh(image_id)
        return super().get_labels_by_image_id(image_id)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Path of a label on the image's whole grid; "" if there is none. ``label_id`` is the image's id."""
        image = image_id or label_id
        if label_tag == FINAL:
            self._refresh(image)
        return FolderDatastore.get_label_uri(self, image, label_tag)

    def mark_of_label(self, image_id: str, tag: str) -> str:
        """The series of the SEG object, which never changes; each server has a file of its own. Versions of reviewers,
        which are here only, have none."""
        series = str(self.get_label_info(image_id, tag).get("SeriesInstanceUID", ""))
        return series or super().mark_of_label(image_id, tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Images with labels, and these; those that the PACS does not send are left out, with a warning each."""
        for image in self.get_labeled_images():
            try:
                self.get_image_uri(image)
                self._refresh(image)
            except Exception as error:
                if not is_of_one(error):
                    raise
                logger.warning("Series %s and its label are left out: %s", image, error)
        return FolderDatastore.datalist(self, full_path)

    def save_label(
        self,
        image_id: str,
        label_filename: str,
        label_tag: str,
        label_info: dict[str, Any],
        label_id: str = "",
    ) -> str:
        """Save a label; a final one goes to the PACS as DICOM SEG.

        Raises:
            PromptError: there is nothing in it.
            TransferError: the PACS did not take it; nothing was saved.
            VolumeError: it cannot be read, or does not lie on the image's grid.
            requests.RequestException: the PACS does not answer, or refuses; nothing was saved.
        """
        image = read_volume(Path(self.get_image_uri(image_id)))
        label = label_on_grid(read_saved(Path(label_filename), image), image)
        if not label.any():
            raise PromptError("The label is empty: nothing was saved. Paint or propagate a structure first.")
        info = {**label_info, "label_info": _segment_info(label, label_info.get("label_info"))}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{image_id}.nii.gz"
            write_label(path, label, image, dtype=None, compress=True)
            with self._fetched.alone(image_id):
                if label_tag == FINAL:
                    info |= self._store(image_id, path, info["label_info"], creator_of(label_info))
                return FolderDatastore.save_label(self, image_id, str(path), label_tag, info)

    def _store(
        self, image_id: str, label: Path, segments: list[dict[str, Any]], creator: str
    ) -> dict[str, str]:
        """Put a label into the PACS as DICOM SEG; what is noted of it."""
        find_dcmqi()
        made = nifti_to_dicom_seg(str(self._fetched.folder(image_id)), str(label), segments)
        try:
            seg = dcmread(made)
        finally:
            Path(made).unlink(missing_ok=True)
        if creator:
            seg.ContentCreatorName = creator
        failed = self._client.store_instances([seg]).get("FailedSOPSequence")
        if failed:
            raise TransferError(
                "The image archive (PACS) did not take the label: nothing was saved. The reason it gives is "
                f"{failed[0].get('FailureReason', 0):04X} (hexadecimal, of DICOM STOW-RS); its log may say more."
            )
        stored = self._segmentations.stored(seg)
        self._images.forget()
        noted = {field: str(seg.get(field) or "UNK") for field in NOTED}
        now = datetime.now(UTC).isoformat(timespec="seconds")  # the object tells it by no time zone
        return noted | (stored.origin if stored else {}) | {"made": now}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        added = super().add_image(image_id, image_filename, image_info)
        self._images.forget()
        return added

    def final_info(self, image_id: str) -> dict[str, Any] | None:
        newest = self._segmentations.newest().get(image_id)
        if newest is None:
            return None
        here = super().final_info(image_id)
        is_newest = here is not None and here.get("SeriesInstanceUID") == newest.series
        return here if is_newest else {"SeriesInstanceUID": newest.series, **newest.origin}

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Note something with a label here, not in the PACS; a newer SEG object begins without it."""
        if label_tag == FINAL:
            self._refresh(label_id)
        super().update_label_info(label_id, label_tag, info)

    def note_with_final(self, image_id: str, note: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._refresh(image_id)
        super().note_with_final(image_id, note)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label; a final one from the PACS as well, the newest if there are several.

        Raises:
            ArchiveError: the PACS does not allow it.
            LabelNotFoundException: there is none.
        """
        newest = self._segmentations.newest().get(label_id) if label_tag == FINAL else None
        if newest is not None:
            self._delete(newest)
            self._segmentations.deleted(newest)
            self._images.forget()
        elif not FolderDatastore.get_label_uri(self, label_id, label_tag):
            raise LabelNotFoundException(f"no label {label_id} with the tag {label_tag}")
        self._remove_local(label_id, label_tag)

    def _is_ready(self, image_id: str, path: Path) -> bool:
        """Whether an image is here, and whole. One with labels stays as it is: they lie on its grid."""
        if not path.is_file() or not self._fetched.is_here(image_id):
            return False
        is_whole = self._fetched.is_whole_in(image_id, path)
        entry = self._datastore.objects.get(image_id)
        if not is_whole and entry is not None and entry.labels:
            logger.warning(
                "%s may lack slices that the PACS has; it stays so, as there are labels on it", path
            )
            return True
        return is_whole

    def _make_ready(self, image_id: str) -> None:
        """Fetch an image unless all its slices are here, and make one file of them."""
        if not self._fetched.is_whole(image_id):
            self._fetched.fetch(image_id)
        made = dicom_to_nifti(str(self._fetched.folder(image_id)))
        try:
            FolderDatastore.add_image(self, image_id, made, self._dicom_info(image_id))
        finally:
            Path(made).unlink(missing_ok=True)

    def _delete(self, segmentation: Segmentation) -> None:
        try:
            self._client.delete_series(segmentation.study, segmentation.series)
        except requests.HTTPError as error:
            logger.info("The PACS refused to delete %s: %s", segmentation.series, error)
            raise ArchiveError(
                "The image archive (PACS) does not delete objects by DICOMweb, so the label stays. "
                f"Delete the SEG series {segmentation.series} in the archive itself."
            ) from error

    def _refresh(self, image_id: str) -> None:
        """Make the local final label that of the newest SEG object; remove it when there is none any more."""
        with self._fetched.alone(image_id):  # not between the two halves of saving one
            newest = self._segmentations.newest().get(image_id)
            here = FolderDatastore.get_label_uri(self, image_id, FINAL)
            if newest is None:
                if here:
                    self._remove_local(image_id, FINAL)
                return
            local = self.get_label_info(image_id, FINAL)
            if not (here and Path(here).is_file() and local.get("SeriesInstanceUID") == newest.series):
                self._take_over(newest)

    def _take_over(self, newest: Segmentation) -> None:
        """Make a SEG object of the PACS the local final label of its image."""
        image = read_volume(Path(self.get_image_uri(newest.image)))
        with tempfile.TemporaryDirectory() as folder:
            label = self._download(newest, Path(folder) / "seg")
            path = Path(folder) / f"{newest.image}.nii.gz"
            write_label(path, label_on_grid(read_label(label), image), image, dtype=None, compress=True)
            label.unlink()
            noted = {"SeriesInstanceUID": newest.series, "Modality": "SEG", **newest.origin}
            info = {**noted, "label_info": newest.segments}
            FolderDatastore.save_label(self, newest.image, str(path), FINAL, info)

    def _download(self, segmentation: Segmentation, folder: Path) -> Path:
        """The labelmap of a SEG object (around its structures only), in a temporary file."""
        dicom_web_download_series(segmentation.study, segmentation.series, str(folder), self._client)
        return Path(dicom_to_nifti(str(folder), is_seg=True))

    def _remove_local(self, image_id: str, label_tag: str) -> None:
        path = FolderDatastore.get_label_uri(self, image_id, label_tag)
        if path:
            Path(path).unlink(missing_ok=True)
            shutil.rmtree(Path(path).with_name(image_id), ignore_errors=True)
        self.refresh()


def _segment_info(label: np.ndarray, given: Any) -> list[dict[str, Any]]:
    """One entry for each value of the label, in ascending order: MONAI Label takes them by position.

    It takes the first one's ``model_name`` for the SEG's series description, which viewers list: the structures' names.
    """
    entries = [entry for entry in (given if isinstance(given, list) else ()) if isinstance(entry, dict)]
    values = [entry.get("id", entry.get("idx")) for entry in entries]
    by_value = {value: one for value, one in zip(values, entries, strict=True) if isinstance(value, int)}
    info = [{"name": f"structure_{v}", **by_value.get(v, {}), "id": v} for v in present_values(label)]
    return [{"model_name": ", ".join(str(e["name"]) for e in info)[:MOST_CHARACTERS], **e} for e in info]
