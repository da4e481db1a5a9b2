"""A server whose memory is bounded refuses what does not fit, and goes on."""

import contextlib
import resource

import numpy as np
import psutil
import pytest
import requests
from server_process import running_server
from server_studies import make_studies, painted_slice, phantom, write_nifti

pytestmark = pytest.mark.server

MB = 2**20
VOXELS = (400, 300, 250)  # 30 million


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("shortage")
    studies = make_studies(base / "studies")
    write_nifti(studies / "numbers.nii.gz", np.zeros(VOXELS, np.float64))  # 240 MB
    with running_server(base, studies) as server:
        yield server


@contextlib.contextmanager
def bounded(server, more):
    """The server may take so many bytes more than it has."""
    processes = [psutil.Process(server.process.pid)]
    processes += processes[0].children(recursive=True)
    for each in processes:
        each.rlimit(resource.RLIMIT_AS, (each.memory_info().vms + more, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for each in processes:
            each.rlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def infer(server, image, label, folder):
    file = write_nifti(folder / "label.nii.gz", label).read_bytes()
    address = f"{server.url}/infer/slmsam2?image={image}"
    return requests.post(address, files={"label": ("label.nii.gz", file)}, timeout=120)


def test_too_little_memory(server, tmp_path):
    small, large = painted_slice(phantom()[1], 7), np.zeros(VOXELS, np.uint8)
    large[100:200, 100:200, 125] = 1
    assert infer(server, "phantom", small, tmp_path).status_code == 200
    with bounded(server, 100 * MB):  # too little even when what is kept for later requests is given back
        answer = infer(server, "numbers", large, tmp_path)
        assert (answer.status_code, "30 million voxels" in answer.json()["detail"]) == (413, True)
        assert infer(server, "phantom", small, tmp_path).status_code == 200
    with bounded(server, 300 * MB):
        answer = infer(server, "numbers", large, tmp_path)
        assert (answer.status_code, "memory does not suffice" in answer.json()["detail"]) == (507, True)
        assert infer(server, "phantom", small, tmp_path).status_code == 200
    assert server.left_behind() == []
