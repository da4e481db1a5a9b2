"""Saving labels on a real server that is killed, or whose disk is full."""

import contextlib
import gzip
import io
import os
import random
import resource
import threading
import time
import zipfile

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests
from server_process import running_server
from server_studies import make_studies

pytestmark = pytest.mark.server

KILLS = int(os.environ.get("SLMSAM2_KILLS", "1"))


def body(number):
    """A label, gzipped NIfTI, in the middle of any image, that tells which it is, and whether it is whole; the same
    bytes each time."""
    affine = np.eye(4)
    affine[:3, 3] = -30
    label = nib.Nifti1Image(np.random.default_rng(number).integers(0, 256, (60, 60, 60), np.uint8), affine)
    label.header["descrip"] = str(number)
    return gzip.compress(label.to_bytes(), compresslevel=1, mtime=0)


def number_of(content):
    return int(nib.Nifti1Image.from_bytes(gzip.decompress(content)).header["descrip"].item())


def save(server, image, content, who):
    return requests.put(
        f"{server.url}/datastore/label?image={image}&tag=final",
        files={"label": ("label.nii.gz", content)},
        data={"params": f'{{"client_id": "{who}"}}'},
        timeout=30,
    )


def saved_versions(server, image):
    """Contents of all versions of an image's label, by tag."""
    listed = requests.get(f"{server.url}/datastore/?output=all", timeout=30).json()["objects"][image][
        "labels"
    ]
    address = f"{server.url}/datastore/label?label={image}&tag="
    return {tag: requests.get(address + tag, timeout=30).content for tag in listed}


def save_until_killed(server, image, number, answered):
    while True:
        number += 2
        try:
            if save(server, image, body(number), f"who{number}").status_code == 200:
                answered.append(number)
        except requests.ConnectionError:
            return


def test_killed_while_two_save(tmp_path):
    """No label that was answered for is lost, and the server starts again; as often as SLMSAM2_KILLS says."""
    studies = make_studies(tmp_path / "studies")
    chance, answered = random.Random(0), {"phantom": [0], "turned": [1]}
    for _ in range(KILLS):
        with running_server(tmp_path, studies) as server:
            before = {image: len(numbers) for image, numbers in answered.items()}
            threads = [
                threading.Thread(target=save_until_killed, args=(server, image, numbers[-1] + 1000, numbers))
                for image, numbers in answered.items()
            ]
            for thread in threads:
                thread.start()
            while any(len(numbers) < before[image] + 3 for image, numbers in answered.items()):
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            server.kill()
            for thread in threads:
                thread.join()
    with running_server(tmp_path, studies) as server:
        for image, numbers in answered.items():
            found = {number_of(c): c for c in saved_versions(server, image).values()}
            assert all(content == body(number) for number, content in found.items())
            assert set(numbers[1:]) <= set(found)
            assert save(server, image, body(9), "after").status_code == 200
    assert [p.name for p in studies.rglob(".*") if p.name != ".lock"] == []


@contextlib.contextmanager
def no_space(server):
    """The server may write no file larger than 100 kB for a while, which fails as a full disk does."""
    first = psutil.Process(server.process.pid)
    processes = [first, *first.children(recursive=True)]
    try:
        for each in processes:
            each.rlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        yield
    finally:
        for each in processes:
            each.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_full_disk(server, tmp_path):
    assert save(server, "saved", body(0), "ann").status_code == 200
    before = set(saved_versions(server, "saved").values())
    with no_space(server):
        answer = save(server, "saved", body(1), "bob")
        assert answer.status_code == 507
        assert "space" in answer.json()["detail"]
    assert set(saved_versions(server, "saved").values()) == before
    assert server.left_behind() == []
    assert save(server, "saved", body(1), "bob").status_code == 200
    assert set(saved_versions(server, "saved").values()) == before | {body(1)}
    tags = [tag for tag in saved_versions(server, "saved") if tag != "original"]
    for tag in tags:
        query = {"id": "saved", "tag": tag}
        assert requests.delete(f"{server.url}/datastore/label", params=query, timeout=30).status_code == 200


@pytest.mark.parametrize("field", ["file", "label"])
def test_an_upload_that_finds_no_space_leaves_nothing(server, field):
    before = files_of(server)
    with no_space(server):
        answer = requests.post(
            f"{server.url}/infer/slmsam2?image=phantom",
            files={field: ("x.nii.gz", bytes(200_000))},
            timeout=30,
        )
    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)
    assert files_of(server, before) == before


def test_a_data_set_that_finds_no_space_leaves_nothing(server):
    before, address = files_of(server), f"{server.url}/datastore"
    for path, field, content in (
        ("image?image=large", "file", body(1)),
        ("label?image=large&tag=final", "label", body(2)),
    ):
        files = {field: ("large.nii.gz", content)}
        assert requests.put(f"{address}/{path}", files=files, timeout=30).status_code == 200
    with no_space(server):
        answer = requests.get(f"{address}/dataset", timeout=30)
    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)
    assert files_of(server, before) == before
    answer = requests.get(f"{address}/dataset", timeout=30)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("image/large.nii.gz") == body(1)
        assert archive.read("label/large.nii.gz") == body(2)
        assert b'"large"' in archive.read("metadata.json")
    assert files_of(server, before) == before
    requests.delete(f"{address}/image?id=large", timeout=30).raise_for_status()


def files_of(server, expected=None, seconds=5):
    """The server's temporary files; what it removes goes just after the reply."""
    end = time.monotonic() + seconds
    while True:
        found = {path for path in server.temporary.rglob("*") if path.is_file()}
        if expected in (None, found) or time.monotonic() > end:
            return found
        time.sleep(0.1)
