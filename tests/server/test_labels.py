"""MONAI Label's label endpoints in front of a folder of images."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import requests
from server_studies import SHAPE, phantom, write_nifti

pytestmark = pytest.mark.server


def ask(server, method, **arguments):
    return requests.request(method, f"{server.url}/datastore/label", timeout=30, **arguments)


def test_save_read_and_delete(server, tmp_path):
    file = write_nifti(tmp_path / "label.nii.gz", phantom()[1])
    with file.open("rb") as stream:
        answer = ask(server, "PUT", params={"image": "turned", "tag": "mine"}, files={"label": stream})
    assert answer.json() == {"image": "turned", "label": "turned"}
    query = {"label": "turned", "tag": "mine"}
    sent = nib.Nifti1Image.from_bytes(gzip.decompress(ask(server, "GET", params=query).content))
    assert np.array_equal(np.asarray(sent.dataobj), phantom()[1])
    assert ask(server, "DELETE", params={"id": "turned", "tag": "mine"}).json() == {}
    assert ask(server, "GET", params=query).status_code == 404
    assert server.left_behind() == []


@pytest.mark.parametrize(
    ("content", "names", "says"),
    [
        (np.zeros(SHAPE, np.uint8), ["liver", "spleen"], "The label is empty"),
        (phantom()[1], ["liver"], "names only liver (1)"),
        (b"text", ["liver"], "The label was not saved."),
    ],
)
def test_a_final_label_gives_way_to_none_that_is_worse(server, tmp_path, content, names, says):
    query = {"image": "saved", "tag": "final"}

    def save(content, names):
        info = [{"name": name, "idx": number} for number, name in enumerate(names, 1)]
        if not isinstance(content, bytes):
            content = write_nifti(tmp_path / "label.nii.gz", content).read_bytes()
        form = {"params": json.dumps({"label_info": info})}
        return ask(server, "PUT", params=query, files={"label": ("x.nii.gz", content)}, data=form)

    try:
        assert save(phantom()[1], ["liver", "spleen"]).status_code == 200
        kept = ask(server, "GET", params={"label": "saved", "tag": "final"}).content
        answer = save(content, names)
        assert (answer.status_code, says in answer.json()["detail"]) == (400, True), answer.text
        assert ask(server, "GET", params={"label": "saved", "tag": "final"}).content == kept
        assert server.left_behind() == []
    finally:
        ask(server, "DELETE", params={"id": "saved", "tag": "final"})


def test_unknown_image(server):
    files = {"label": ("label.nii.gz", np.zeros(SHAPE, np.uint8).tobytes())}
    answer = ask(server, "PUT", params={"image": "nobody", "tag": "final"}, files=files)
    assert answer.status_code == 404
    assert "no such image" in answer.json()["detail"]


def test_the_docs_page_still_describes_them(server):
    paths = requests.get(f"{server.url}/openapi.json", timeout=10).json()["paths"]
    assert set(paths["/datastore/label"]) == {"put", "delete", "head", "get"}
