"""Temporary files of the server, when there is no space."""

import io
import os
import tempfile

import pytest
from fastapi import UploadFile

from slmsam2.server.routes.dataset import pack
from slmsam2.server.routes.uploads import as_file

pytestmark = pytest.mark.unit


@pytest.fixture
def full_disk(tmp_path, monkeypatch):
    """The folder of temporary files, for which there is no space once their buffers are written."""
    usual, device = tempfile.NamedTemporaryFile, os.open("/dev/full", os.O_RDWR)

    def made(**named):
        file = usual(dir=tmp_path, **named)
        os.dup2(device, file.fileno())
        return file

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", made)
    yield tmp_path
    os.close(device)


def test_an_upload_leaves_nothing(full_disk):
    with pytest.raises(OSError, match="No space"), as_file(UploadFile(io.BytesIO(b"short")), ".nii", 9):
        pass
    assert list(full_disk.iterdir()) == []


def test_a_data_set_leaves_nothing(full_disk, tmp_path_factory):
    image = tmp_path_factory.mktemp("images") / "ct.nii"
    image.write_bytes(b"short")

    class Datastore:
        def datalist(self):
            return [{"image": str(image), "label": str(image)}]

        def get_labeled_images(self):
            return []

        def json(self):
            return {}

    with pytest.raises(OSError, match="No space"):
        pack(Datastore())
    assert list(full_disk.iterdir()) == []
