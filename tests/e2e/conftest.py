"""Orthanc, our server and Chromium, in a network of their own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
PORT = 8000
URL = f"http://127.0.0.1:{PORT}"
FAR = f"http://reading-room:{PORT}"  # the same server, as a browser on another machine sees it
HOW = "run bash scripts/test.sh --e2e, as root on Debian 12"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP reading-room 127.0.0.1",
]


@pytest.fixture(scope="session")
def own_network():
    """Skips where a program that listens could be reached from outside, or where something is missing."""
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        pytest.skip(f"needs a network namespace of its own: {HOW}")
    if not CHROMIUM.exists() or shutil.which("Orthanc") is None:
        pytest.skip(f"needs Debian's orthanc, orthanc-dicomweb and chromium: {HOW}")
    pytest.importorskip("playwright", reason=f"needs playwright: {HOW}")


@pytest.fixture(scope="session")
def pacs(own_network, tmp_path_factory):
    """Orthanc with a CT and a sagittal MR."""
    import pacs as orthanc

    process = orthanc.start_pacs(tmp_path_factory.mktemp("pacs") / "orthanc")
    yield orthanc
    stop(process)


@pytest.fixture(scope="session")
def ct(pacs, tmp_path_factory):
    """The bundled CT, axial, from the feet up."""
    from dicom_series import make_series

    data = REPOSITORY / "data" / "ts_ct_abdomen_3mm"
    folder = tmp_path_factory.mktemp("series") / "ct"
    series = make_series(data / "image.nii.gz", folder, "CT", "LPS", data / "label.nii.gz")
    pacs.store(series.files)
    return series


@pytest.fixture(scope="session")
def organs(ct):
    """name -> bool (I, J, K) on the CT's grid."""
    names = json.loads((REPOSITORY / "data" / "ts_ct_abdomen_3mm" / "labels.json").read_text())
    return {name: ct.label == value for name, value in names.items()}


@pytest.fixture(scope="session")
def sagittal_volume():
    """A spine and the value of a vertebra in its label; where that volume is missing, the bundled CT and its liver."""
    spine = REPOSITORY.parent / "shared" / "volumes" / "tptbox_mri_spine_1p5mm"
    return (spine, 6) if spine.is_dir() else (REPOSITORY / "data" / "ts_ct_abdomen_3mm", 5)


@pytest.fixture(scope="session")
def mr(pacs, sagittal_volume, tmp_path_factory):
    """A sagittal series that says it is an MR."""
    from dicom_series import make_series

    data, _ = sagittal_volume
    folder = tmp_path_factory.mktemp("series") / "mr"
    series = make_series(data / "image.nii.gz", folder, "MR", "PIR", data / "label.nii.gz")
    pacs.store(series.files)
    return series


@pytest.fixture(scope="session")
def mr_structure(mr, sagittal_volume):
    """bool (I, J, K), the structure to paint on it."""
    return mr.label == sagittal_volume[1]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A model folder of the tests' own, where a training takes a few steps only."""
    folder = tmp_path_factory.mktemp("model")
    preset = REPOSITORY / "model" / "configs" / "learn_small.yaml"
    settings = yaml.safe_load(preset.read_text())
    settings["steps"] = {"least": 6, "per_structure": 1, "most": 6}
    settings["evaluations"] = settings["synthetic_tasks"] = 1
    (folder / "configs").mkdir()
    (folder / "configs" / preset.name).write_text(yaml.safe_dump(settings))
    return folder


@pytest.fixture(scope="session")
def server_process(pacs, ct, mr, model_dir, tmp_path_factory):
    """Our server on that PACS."""
    base = tmp_path_factory.mktemp("server")
    bin_folder = Path(sys.executable).parent
    env = dict(
        os.environ,
        PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        HOME=str(base),
        MONAI_LABEL_SESSION_PATH=str(base / "sessions"),
    )
    command = [
        str(bin_folder / "monailabel"),
        "start_server",
        "--app",
        "apps/slmsam2",
        "--studies",
        pacs.DICOM_WEB,
        "--conf",
        "model_dir",
        str(model_dir),
    ]
    with (base / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(PORT)],
            cwd=REPOSITORY,
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_up(process, base / "log.txt")
        yield psutil.Process(process.pid)
    finally:
        stop(process)


@pytest.fixture(scope="session")
def server(server_process):
    """Its address."""
    return URL


@pytest.fixture(scope="session")
def far(server):
    """Its address from another machine: no https, and not this machine's own."""
    return FAR


@pytest.fixture(autouse=True)
def as_before(request):
    """No test meets the labels or the weights that another one left behind."""
    yield
    if "server" not in request.fixturenames and "server_process" not in request.fixturenames:
        return
    from slmsam2.training.registry import Registry

    request.getfixturevalue("pacs").remove_segmentations()
    Registry("slm_sam2_nano", request.getfixturevalue("model_dir")).use(None)


@pytest.fixture
def no_labels(server):
    """Waits until the server knows that no image is labelled."""
    from waiting import NOTED, until

    until(lambda: requests.get(f"{server}/datastore/", timeout=60).json()["completed"] == 0, 3 * NOTED)


def wait_until_up(process: subprocess.Popen, log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended: {log.read_text()[-3000:]}"
        try:
            requests.get(f"{URL}/info/", timeout=30).raise_for_status()
        except requests.ConnectionError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no answer from the server: {log.read_text()[-3000:]}")


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def browser(own_network):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_viewer(browser, server):
    """Opens a series in OHIF, each in a browser profile of its own. To the server all are one annotator."""
    from viewer_page import ONE_ANNOTATOR, ViewerPage

    contexts = []

    def open_series(series, at=server):
        contexts.append(browser.new_context(viewport={"width": 1400, "height": 820}))
        contexts[-1].add_init_script(ONE_ANNOTATOR)
        viewer = ViewerPage(contexts[-1].new_page(), at, series.lps)
        viewer.open(series.study)
        return viewer

    yield open_series
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Where screenshots go: docs/ if SLMSAM2_PICTURES=docs is set, else a temporary folder."""
    folder = os.environ.get("SLMSAM2_PICTURES")
    return REPOSITORY / folder if folder else tmp_path_factory.mktemp("pictures")


@pytest.fixture
def tell(record_property):
    """Takes a line with a figure to print at the end of the run."""
    return partial(record_property, "figure")
