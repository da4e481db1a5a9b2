"""Two servers over one folder of studies and one model folder, with the proxy of `deploy/nginx.conf` before them."""

import contextlib
import gzip
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest
import requests
import torch
from prometheus_client.parser import text_string_to_metric_families
from requests.adapters import HTTPAdapter
from server_process import REPOSITORY, running_server
from server_studies import AFFINE, SHAPE, TURNED, make_studies, painted_slice, phantom, write_nifti

from slmsam2.modeling import build_model, save_checkpoint
from slmsam2.training.registry import Registry, Version

pytestmark = pytest.mark.server

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
MODEL = "slm_sam2_nano"
ADDRESSES = [f"127.0.0.{n}" for n in range(2, 12)]  # of clients, all of this machine


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder with studies, model and sessions, that all servers share."""
    base = tmp_path_factory.mktemp("several")
    make_studies(base / "studies")
    (base / "model").mkdir()
    return base


@pytest.fixture(scope="module")
def start_script(place):
    """`scripts/start.sh` in a checkout whose set-up has nothing to do."""
    checkout = place / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "scripts" / "setup.sh").write_text("exit 0")
    for name in ("apps", "lib", "model"):
        (checkout / name).symlink_to(REPOSITORY / name)
    (checkout / ".venv").symlink_to(sys.prefix)
    return Path(shutil.copy(REPOSITORY / "scripts" / "start.sh", checkout / "scripts"))


@pytest.fixture(scope="module")
def servers(place, start_script):
    """One as `monailabel start_server` starts it, one as `scripts/start.sh` does."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:

        def start(name, script):
            (place / name).mkdir()
            options = ["--conf", "model_dir", place / "model"]
            where = {"sessions": place / "sessions", "script": script}
            return running_server(place / name, place / "studies", *options, **where)

        starting = [start("a", None), start("b", start_script)]
        yield list(pool.map(stack.enter_context, starting))


@pytest.fixture(scope="module")
def proxy(servers, place):
    """Address of an nginx that is configured as users are told."""
    if NGINX is None:
        pytest.skip("nginx is not installed: bash scripts/test.sh --e2e installs it, as root")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site = (
        (REPOSITORY / "deploy" / "nginx.conf").read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    )
    for own, server in zip((8000, 8001), servers, strict=True):
        site = site.replace(f"127.0.0.1:{own}", server.url.removeprefix("http://"))
    folder = place / "nginx"
    folder.mkdir()
    paths = "".join(
        f"{what}_temp_path {folder / what};\n"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder / 'pid'}; {'user root;' if psutil.Process().uids().real == 0 else ''}\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}{site}}}\n"
    )
    command = [NGINX, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
    process = subprocess.Popen(command)
    try:
        while not answers(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def answers(url):
    try:
        return requests.get(f"{url}/slmsam2/health", timeout=10).ok
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def painted(place):
    return write_nifti(place / "painted.nii.gz", painted_slice(phantom()[1], 7)).read_bytes()


def infer(url, label, client=requests, query="image=phantom", **params):
    return client.post(
        f"{url}/infer/slmsam2?{query}",
        files={"label": ("label.nii.gz", label)},
        data={"params": json.dumps(params)},
        timeout=120,
    )


def save(url, content, who, image="turned"):
    answer = requests.put(
        f"{url}/datastore/label?image={image}&tag=final",
        files={"label": ("label.nii.gz", content)},
        data={"params": json.dumps({"client_id": who})},
        timeout=30,
    )
    assert answer.status_code == 200


def label_bytes(value, affine):
    """A label, gzipped NIfTI, all of this value."""
    label = nib.Nifti1Image(np.full(SHAPE, value, np.uint8), affine)
    return gzip.compress(label.to_bytes(), mtime=0)


def load(url, tag="final", image="turned"):
    return requests.get(f"{url}/datastore/label?label={image}&tag={tag}", timeout=30).content


def result_of(answer):
    """The parameters and the file of a multipart answer."""
    assert answer.status_code == 200, answer.text
    boundary = re.search('boundary="?([^";]+)', answer.headers["content-type"])[1].encode()
    parts = [part.split(b"\r\n\r\n", 1)[1] for part in answer.content.split(b"--" + boundary)[1:-1]]
    return json.loads(parts[0]), parts[1]


def inferences(server):
    """How many answers a server has given."""
    text = requests.get(f"{server.url}/slmsam2/metrics", timeout=10).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "slmsam2_answers_total")


def test_a_label_saved_at_one_is_at_the_other_at_once(servers):
    one, other = (server.url for server in servers)
    for number in range(6):
        save(one, content := label_bytes(number + 1, TURNED), "ann")
        assert load(other) == content
        one, other = other, one


def test_labels_saved_at_both_at_the_same_time_are_all_kept(servers):
    with ThreadPoolExecutor(8) as pool:
        work = [(servers[n % 2].url, label_bytes(n + 1, AFFINE), f"who{n}") for n in range(8)]
        list(pool.map(lambda each: save(*each, image="saved"), work))
    for server in servers:
        listed = requests.get(f"{server.url}/datastore/?output=all", timeout=30).json()["objects"]["saved"]
        kept = {load(server.url, tag, "saved") for tag in listed["labels"]}
        assert kept == {content for _, content, _ in work}


def test_nobody_is_handed_what_another_has(servers):
    def ask(number):
        address = f"{servers[number % 2].url}/activelearning/random"
        return requests.post(address, json={"client_id": f"who{number}"}, timeout=30)

    free = requests.get(f"{servers[0].url}/datastore/?output=all", timeout=30).json()["objects"]
    free = {image for image, facts in free.items() if "final" not in facts["labels"]} - {
        "text",
        "series",
    }  # no image, several
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(ask, range(len(free) + 2)))
    given = [reply.json()["id"] for reply in replies if reply.status_code == 200]
    assert sorted(given) == sorted(free)
    assert sorted(reply.status_code for reply in replies) == [200] * len(free) + [409] * 2


def test_any_server_gives_the_same_answer(servers, painted):
    """One remembers the annotator and the other does not: what says all itself is answered alike."""
    first = [infer(servers[0].url, painted, client_id="ann") for _ in range(2)]
    assert {answer.status_code for answer in first} == {200}
    came = [result_of(infer(server.url, painted, client_id="ann", prompt_slices=[7])) for server in servers]
    assert came[0][1] == came[1][1]


def test_a_correction_is_known_as_one_at_the_other_server(servers, place):
    """As after a restart: most of the segment is what was proposed, and is found anew."""
    label = painted_slice(phantom()[1] == 1, 7).astype(np.uint8)
    asked = {"client_id": "eve", "label_info": [{"name": "liver", "id": 1}], "result_extension": ".nii"}
    begun = infer(servers[0].url, write_nifti(place / "begun.nii.gz", label).read_bytes(), **asked)
    found = np.asarray(nib.Nifti1Image.from_bytes(result_of(begun)[1]).dataobj).copy()
    assert (found[:, :, 9] > 0).any()
    found[:, :, 9] = 0
    found[10:16, 14:22, 9] = 1
    corrected = write_nifti(place / "corrected.nii.gz", found).read_bytes()
    facts, file = result_of(infer(servers[1].url, corrected, **asked))
    assert facts["report"]["structures"]["liver"]["painted"] == [7, 9]
    again = np.asarray(nib.Nifti1Image.from_bytes(file).dataobj)
    assert np.array_equal(again[:, :, [7, 9]], found[:, :, [7, 9]])
    assert not np.array_equal(again[:, :, 8], found[:, :, 8])
    undone = result_of(infer(servers[0].url, corrected, undo=True, **asked))[1]
    assert np.array_equal(np.asarray(nib.Nifti1Image.from_bytes(undone).dataobj), found)  # as it was sent


def test_a_session_opened_at_one_is_open_at_the_other(servers, place, painted):
    image = (place / "studies" / "phantom.nii.gz").read_bytes()
    files = {"files": ("ct.nii.gz", image)}
    opened = requests.put(f"{servers[0].url}/session/", files=files, timeout=30).json()["session_id"]
    assert infer(servers[1].url, painted, query=f"session_id={opened}").status_code == 200
    requests.delete(f"{servers[1].url}/session/{opened}", timeout=30)
    for server in servers:
        answer = infer(server.url, painted, query=f"session_id={opened}")
        assert (answer.status_code, "open session" in answer.json()["detail"]) == (404, True)


def test_a_published_model_reaches_all(servers, place, painted):
    torch.manual_seed(0)
    registry = Registry(MODEL, place / "model")
    save_checkpoint(registry.path("learned-1"), build_model(MODEL), version="learned-1", trained={})
    registry.publish(Version("learned-1", None, 0.0, {}, []))
    for server in servers:
        models = requests.get(f"{server.url}/info/", timeout=30).json()["models"]
        assert models["slmsam2"]["network"]["version"] == "learned-1"
        assert result_of(infer(server.url, painted))[0]["version"] == "learned-1"


def test_annotators_with_the_stock_client(proxy):
    """`scripts/soak.py`, for a moment: two people do one image each, and may cancel."""
    command = [sys.executable, "scripts/soak.py", "--annotators", "2", "--minutes", "0.01", "--url", proxy]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", done.stdout, re.MULTILINE))
    assert (rows["answers 5xx"], rows["told to ask again later (429)"]) == ("0", "0")
    propagated = dict(part.split(" x ")[::-1] for part in rows["propagate"].split(", "))
    assert sum(map(int, propagated.values())) == 2
    assert propagated.keys() <= {"200", "409"}
    assert rows["submit"] == f"{propagated['200']} x 200"


def test_behind_the_proxy(servers, proxy, painted):
    """Each client keeps to a server; when one is killed the other one serves all."""
    before = [inferences(server) for server in servers]
    for address in ADDRESSES:
        with client_at(address) as client:
            assert [infer(proxy, painted, client).status_code for _ in range(2)] == [200, 200]
    counts = [inferences(server) - was for server, was in zip(servers, before, strict=True)]
    assert sum(counts) == 2 * len(ADDRESSES)
    assert all(count > 0 and count % 2 == 0 for count in counts)
    large = requests.put(
        f"{proxy}/datastore/label?image=long&tag=large", files={"label": ("x.nii.gz", bytes(3_000_000))}
    )
    assert large.status_code == 200
    refused = infer(proxy, painted, query="image=none")
    assert (refused.status_code, "datastore" in refused.json()["detail"]) == (404, True)
    assert requests.get(f"{proxy}/slmsam2/metrics", timeout=10).status_code == 404
    assert requests.get(f"{proxy}/ohif/", timeout=10).status_code == 200
    kill(servers[0])
    for address in ADDRESSES:
        with client_at(address) as client:
            assert infer(proxy, painted, client).status_code == 200
            assert client.get(f"{proxy}/info/", timeout=30).status_code == 200


@contextlib.contextmanager
def client_at(address):
    """Requests from an address of one's own."""

    class FromAddress(HTTPAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, source_address=(address, 0), **kwargs)

    with requests.Session() as session:
        session.mount("http://", FromAddress())
        yield session


def kill(server):
    process = psutil.Process(server.process.pid)
    for each in [*process.children(recursive=True), process]:
        each.send_signal(signal.SIGKILL)
    server.process.wait()
