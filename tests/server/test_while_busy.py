"""The server answers others while an inference runs, and serves several users one after the other."""

import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from server_studies import phantom, write_nifti

pytestmark = pytest.mark.server

SHAPE = (64, 60, 60)  # of the study "long"


@pytest.fixture
def label(tmp_path):
    """Writes a label with every so many slices painted, so that all slices are visited whatever the network thinks."""

    def write(every):
        painted = phantom(SHAPE)[1]
        painted[:, :, np.arange(SHAPE[2]) % every > 0] = 0
        return str(write_nifti(tmp_path / "label.nii.gz", painted))

    return write


def infer_in_thread(server, label, folder, replies):
    folder.mkdir()
    client = MONAILabelClient(server.url, tmpdir=str(folder))
    thread = threading.Thread(
        target=lambda: replies.append(client.infer("slmsam2", "long", {}, label_in=label))
    )
    thread.start()
    return thread


def test_info_while_an_inference_runs(server, client, label, tmp_path):
    replies = []
    thread = infer_in_thread(server, label(every=4), tmp_path / "one", replies)
    time.sleep(0.5)
    waits = []
    while thread.is_alive() and len(waits) < 40:
        begin = time.perf_counter()
        client.info()
        waits.append(time.perf_counter() - begin)
        time.sleep(0.1)
    thread.join(300)
    assert replies, "the inference failed"
    assert statistics.median(waits) < 1
    assert len(waits) >= 5, "the inference was too short to tell"
    assert requests.get(f"{server.url}/datastore/", timeout=10).json()["total"] >= 7


def test_two_users_at_once(server, label, tmp_path):
    replies, painted = [], label(every=5)  # not what was found before: that would be kept
    threads = [infer_in_thread(server, painted, tmp_path / str(n), replies) for n in range(2)]
    for thread in threads:
        thread.join(300)
    first, second = (Path(path).read_bytes() for path, _ in replies)
    assert len(first) == len(second)
    latencies = [params["latencies"] for _, params in replies]
    worked = max(one["total"] - one["wait"] for one in latencies)
    assert max(one["wait"] for one in latencies) > 0.5 * worked  # one at a time


def test_the_docs_page_still_works(server):
    schema = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    assert schema["paths"]["/infer/{model}"]["post"]["tags"] == ["Infer"]
    assert "<html" in requests.get(f"{server.url}/", timeout=10).text
