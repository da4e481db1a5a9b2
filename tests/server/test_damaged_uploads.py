"""Damaged labels and images sent to a real server: it answers each with a result or a sentence, and lives."""

import random

import pytest
import requests
from server_studies import SHAPE, painted_slice, phantom, write_nifti, write_nrrd

from damage import WAYS

pytestmark = pytest.mark.server

EACH = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Ending -> (image, label), bytes of good files."""
    folder = tmp_path_factory.mktemp("whole")
    image, label = phantom(SHAPE)
    return {
        ending: tuple(
            write(folder / f"{name}{ending}", array).read_bytes()
            for name, array in (("image", image), ("label", painted_slice(label, 7)))
        )
        for ending, write in ((".nii.gz", write_nifti), (".nii", write_nifti), (".nrrd", write_nrrd))
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd"])
def test_damaged_uploads(server, whole, ending, way):
    chance = random.Random(f"{ending} {way.__name__}")
    image, label = whole[ending]
    for number in range(EACH):
        files = {"label": (f"l{ending}", way(label, chance) if number % 2 else label)}
        if number % 2 == 0:
            files["file"] = (f"i{ending}", way(image, chance))
        address = f"{server.url}/infer/slmsam2{'?image=phantom' if number % 2 else ''}"
        params = {"params": '{"first_slice": 6, "last_slice": 8}'}
        answer = requests.post(address, files=files, data=params, timeout=60)
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
        if answer.status_code != 200:
            assert answer.json()["detail"].endswith("."), answer.text
    assert requests.get(f"{server.url}/info/", timeout=10).status_code == 200
    assert server.left_behind() == []
