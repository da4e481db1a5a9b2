"""SEG objects of a PACS that are not as they should be: left out, said once, and in nobody's way."""

import pytest
import requests
from pydicom import config
from pydicom.dataset import Dataset

from slmsam2.server.datastore.creators import creator_of
from slmsam2.server.datastore.segmentations import Segmentations

pytestmark = pytest.mark.unit


def metadata(image, number=1):
    """Of a SEG object with one segment, drawn on an image series."""
    data, referenced, segment = Dataset(), Dataset(), Dataset()
    if image is not None:
        referenced.SeriesInstanceUID = image
    segment.SegmentLabel = "liver"
    if number is not None:
        segment.SegmentNumber = number
    data.ReferencedSeriesSequence, data.SegmentSequence = [referenced], [segment]
    data.ContentDate = "20260101"
    return [data.to_json_dict()]


def fails(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(str(status), response=response)


class Client:
    """An archive with two SEG objects, of which the second is odd."""

    def __init__(self, odd):
        self.odd = odd

    def search_for_series(self, search_filters):
        found = []
        for uid in ("1", "2"):
            series = Dataset()
            series.StudyInstanceUID, series.SeriesInstanceUID = "9", uid
            found.append(series.to_json_dict())
        return found

    def retrieve_series_metadata(self, study, series):
        if series == "1":
            return metadata("7.1")
        if isinstance(self.odd, Exception):
            raise self.odd
        return self.odd


ODD = [
    metadata(None),
    metadata("7.2", number=None),
    [],
    ["text"],
    fails(404),
    fails(500),
    ValueError("no JSON"),
]


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_object_is_left_out_and_said_once(odd, caplog):
    client = Client(odd)
    segmentations = Segmentations(client)
    for _ in range(3):
        assert segmentations.newest().keys() == {"7.1"}
        segmentations.forget()
    assert len(caplog.records) == 1
    assert "SEG object 2" in caplog.text
    client.odd = metadata("7.2")  # it has arrived
    assert segmentations.newest().keys() == {"7.1", "7.2"}


@pytest.mark.parametrize(
    "error", [requests.ConnectionError(), requests.ReadTimeout(), fails(503), fails(401)]
)
def test_an_archive_that_fails_is_not_taken_for_one_without_labels(error):
    with pytest.raises(requests.RequestException):
        Segmentations(Client(error)).newest()


@pytest.mark.parametrize(
    ("says", "origin"),
    [
        ({"ContentTime": "041205.250000"}, {"made": "2026-01-01T04:12:05"}),
        ({}, {"made": "2026-01-01"}),
        ({"ContentDate": "soon"}, {}),
        ({"ContentCreatorName": "Doe^Jane"}, {"made": "2026-01-01", "creator": "Doe Jane"}),
        ({"ContentCreatorName": "Reader1"}, {"made": "2026-01-01"}),  # as MONAI Label says of everything
    ],
)
def test_who_made_it_and_when_is_told_as_far_as_it_says(says, origin):
    (entry,) = metadata("7.2")
    data = Dataset.from_json(entry)
    with config.disable_value_validation():
        for field, value in says.items():
            setattr(data, field, value)
    assert Segmentations(Client([data.to_json_dict()])).newest()["7.2"].origin == origin


@pytest.mark.parametrize(
    ("saved", "name"),
    [
        ({"client_id": "anna"}, "anna"),
        ({"client_id": "anna", "user": "Béla"}, "Bela"),
        ({"client_id": "browser-0123456789abcdef"}, ""),
        ({"client_id": "user-xyz"}, ""),
        ({"client_id": 7}, ""),
        ({}, ""),
        ({"client_id": "a^b=c\\d\n" + 80 * "e"}, "abcd" + 60 * "e"),
    ],
)
def test_whoever_saves_a_label_is_named_as_dicom_takes_it(saved, name):
    assert creator_of(saved) == name
