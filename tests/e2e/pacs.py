"""An Orthanc of our own: started on an empty folder, filled, asked."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pydicom
import requests

PORT = 8042
URL = f"http://127.0.0.1:{PORT}"
DICOM_WEB = f"{URL}/dicom-web"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def start_pacs(folder: Path) -> subprocess.Popen:
    """Start it and wait until it answers."""
    folder.mkdir()
    settings = {
        "Name": "Test",
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": PORT,
        "DicomServerEnabled": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            requests.get(f"{URL}/system", timeout=30).raise_for_status()
            return process
        except requests.ConnectionError:
            time.sleep(0.2)
    process.kill()
    raise RuntimeError((folder / "log.txt").read_text())


def store(files: list[Path]) -> None:
    for file in files:
        requests.post(f"{URL}/instances", data=file.read_bytes(), timeout=30).raise_for_status()


def store_dataset(data: pydicom.Dataset) -> None:
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, data, write_like_original=False)
    requests.post(f"{URL}/instances", data=buffer.parent.getvalue(), timeout=30).raise_for_status()


def segmentations(image_series: str) -> list[pydicom.Dataset]:
    """The SEG objects of an image series, oldest first."""
    found = []
    for orthanc_id in _find("Instance", Modality="SEG"):
        tags = requests.get(f"{URL}/instances/{orthanc_id}/simplified-tags", timeout=30).json()
        if tags["ReferencedSeriesSequence"][0]["SeriesInstanceUID"] == image_series:
            received = requests.get(f"{URL}/instances/{orthanc_id}/metadata/ReceptionDate", timeout=30).text
            found.append((received, orthanc_id))
    return [_dataset(orthanc_id) for _, orthanc_id in sorted(found)]


def remove(series: str) -> None:
    """Remove an image series and all that was drawn on it."""
    for data in segmentations(series):
        _delete(_find("Series", SeriesInstanceUID=data.SeriesInstanceUID))
    _delete(_find("Series", SeriesInstanceUID=series))


def remove_segmentations() -> None:
    """Remove all SEG objects."""
    _delete(_find("Series", Modality="SEG"))


def _find(level: str, **query: str) -> list[str]:
    """Orthanc's own ids of what fits."""
    asked = {"Level": level, "Query": query}
    return requests.post(f"{URL}/tools/find", json=asked, timeout=30).json()


def _delete(series: list[str]) -> None:
    for orthanc_id in series:
        requests.delete(f"{URL}/series/{orthanc_id}", timeout=30).raise_for_status()


def _dataset(orthanc_id: str) -> pydicom.Dataset:
    file = requests.get(f"{URL}/instances/{orthanc_id}/file", timeout=30).content
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))
