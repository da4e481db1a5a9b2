"""Attempts to reach, or to change, what is not in the datastore: each gets a 4xx and reaches nothing."""

import hashlib
import http.client
import io
import json
import os
import tarfile
import zipfile
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import requests
from server_process import running_server
from server_studies import SHAPE, make_studies, write_nifti

pytestmark = pytest.mark.server

SECRET = b"nobody may read this"
ROUTES = {
    "datastore/": ("PUT", "image"),
    "datastore/image": ("PUT", "image"),
    "datastore/image#get": ("GET", "image"),
    "datastore/image#delete": ("DELETE", "id"),
    "datastore/image/info": ("GET", "image"),
    "datastore/label": ("PUT", "image"),
    "datastore/label#tag": ("PUT", "tag"),
    "datastore/label#get": ("GET", "label"),
    "datastore/label#delete": ("DELETE", "id"),
    "datastore/label/info": ("PUT", "label"),
    "infer/slmsam2": ("POST", "image"),
    "infer/slmsam2#session": ("POST", "session_id"),
}
NAMES = {
    "up": "../outside",
    "up up": "../../etc/hostname",
    "absolute": None,  # path of the file outside
    "encoded": "%2e%2e%2foutside",
    "backslash": "..\\outside",
    "nul": "outside\x00.nii.gz",
    "dots": "..",
    "link": "linked",
}


def _path(route):
    return route.partition("#")[0]


ADDS = {("PUT", path, "image", "link") for path in ("datastore/", "datastore/image")}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Studies, with a link that leads out of them, beside things that nobody may reach."""
    base = tmp_path_factory.mktemp("escapes")
    studies = make_studies(base / "studies")
    write_nifti(base / "outside.nii.gz", np.ones(SHAPE, np.int16))
    (base / "secret.txt").write_bytes(SECRET)
    (studies / "linked.nii.gz").symlink_to(base / "outside.nii.gz")
    (studies / "labels" / "final").mkdir(parents=True)
    (studies / "labels" / "final" / "phantom.nii.gz").symlink_to(base / "outside.nii.gz")
    (studies / "labels" / "away").symlink_to(base)
    return base


@pytest.fixture(scope="module")
def closed(base):
    with running_server(base, base / "studies") as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_outside_changes(base, closed):
    """The files beside and in the datastore are as before; the server lives."""
    before = fingerprint(base)
    yield
    assert fingerprint(base) == before
    assert requests.get(f"{closed.url}/info/", timeout=10).status_code == 200


def fingerprint(base):
    """Names and contents of all files but those that the server writes of its own accord."""
    own = {base / "tmp", base / "log.txt", base / "studies" / "datastore_v2.json"}
    files = [p for p in base.rglob("*") if p.is_file() and not own & {p, *p.parents} and p.name[0] != "."]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def refused(answer):
    """Status 4xx, one sentence, nothing of the secret."""
    status, content = answer
    assert 400 <= status < 500, (status, content)
    assert SECRET not in content
    sentence = json.loads(content)["detail"]
    assert sentence.endswith("."), sentence
    return sentence


def ask(server, method, path, **arguments):
    answer = requests.request(method, f"{server.url}/{path}", timeout=30, **arguments)
    return answer.status_code, answer.content


def ask_raw(server, method, target, body=b"", **headers):
    """A request whose address is sent as it is: clients tidy up ".."."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.putrequest(method, target, skip_host=False)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    ("route", "name"),
    [(r, n) for r in ROUTES for n in NAMES if (ROUTES[r][0], _path(r), ROUTES[r][1], n) not in ADDS],
)
def test_names(closed, base, route, name):
    method, parameter = ROUTES[route]
    path = _path(route)
    query = {"image": "phantom", "label": "phantom", "id": "phantom", "tag": "final"}
    query[parameter] = NAMES[name] or str(base / "outside.nii.gz")
    if (parameter, name) == ("tag", "link"):
        query["tag"] = "no/tag"
    if parameter == "session_id":
        query.pop("image")
    field = "label" if "label" in path else "file"
    files = {field: ("x.nii.gz", b"content")} if method == "PUT" and "info" not in path else None
    address = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    refused(ask(closed, method, f"{path}?{address}", files=files))


@pytest.mark.parametrize(
    "target",
    [
        "/session/..",
        "/session/%2e%2e",
        "/session/%2e%2e%2f%2e%2e",
        "/session/%252e%252e",
        "/session/..%5c..",
        "/ohif/..",
        "/ohif/.",
        "/ohif/../../../secret.txt",
        "/ohif/%2e%2e/%2e%2e/index.py",
        "/static/..%2f..%2fapp.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/slmsam2/ohif/..%2fmain.py",
        "/slmsam2/ohif/%2e%2e",
        "/model/..%2fslmsam2",
        "/proxy/dicom/../../secret.txt",
        "/proxy/dicom/wado/%252e%252e/tools/execute-script",
        "/logs/../secret.txt",
        "/slmsam2/progress/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_addresses(closed, method, target):
    status, content = ask_raw(closed, method, target)
    assert 400 <= status < 500, (status, content)
    assert SECRET not in content


def test_an_uploaded_image_replaces_a_link_and_not_what_it_leads_to(closed, base):
    link = base / "studies" / "linked.nii.gz"
    content = (base / "studies" / "phantom.nii.gz").read_bytes()
    try:
        files = {"file": ("linked.nii.gz", content)}
        assert ask(closed, "PUT", "datastore/image", files=files)[0] == 200
        assert not link.is_symlink()
        assert link.read_bytes() == content
    finally:
        link.unlink()
        link.symlink_to(base / "outside.nii.gz")


@pytest.mark.parametrize("filename", ["datastore_v2.json", "x.py", "x", "../../x.sh", ".lock"])
def test_files_that_are_no_images(closed, filename):
    for path, field in (
        ("datastore/image?image=datastore_v2", "file"),
        ("datastore/label?image=phantom", "label"),
    ):
        assert "is not taken" in refused(ask(closed, "PUT", path, files={field: (filename, b"{}")}))


def test_a_file_name_with_folders(closed, base):
    content = (base / "studies" / "phantom.nii.gz").read_bytes()
    answer = requests.put(
        f"{closed.url}/datastore/image", files={"file": ("../../../moved.nii.gz", content)}, timeout=30
    )
    try:
        assert answer.json() == {"image": "moved"}
    finally:
        (base / "studies" / "moved.nii.gz").unlink()


def test_a_label_that_is_a_link(closed):
    assert ask(closed, "GET", "datastore/label?label=phantom&tag=final")[0] == 404
    assert ask(closed, "GET", "datastore/label?label=outside&tag=away")[0] == 404
    refused(ask(closed, "GET", "datastore/dataset"))


def archive(kind, *members):
    """Bytes of a tar or zip archive with members (name, content or kind of link, target)."""
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content, target in members:
                info = zipfile.ZipInfo(name)
                if target is not None:
                    info.external_attr = 0o120777 << 16
                opened.writestr(info, target or content, zipfile.ZIP_DEFLATED)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        for name, content, target in members:
            info = tarfile.TarInfo(name)
            if target is not None:
                info.type, info.linkname = content, target
                opened.addfile(info)
            else:
                info.size = len(content)
                opened.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name",
    ["../escaped", "/tmp/escaped-slmsam2", "a/../../escaped", "..\\escaped", "C:\\escaped", "a/%2e%2e/../x"],
)
def test_archives_with_paths(closed, base, kind, name):
    sent = archive(kind, ("fine.dcm", b"1", None), (name, b"2", None))
    sentence = refused(ask(closed, "PUT", "session/?uncompress=true", files={"files": (f"x.{kind}", sent)}))
    assert "outside its folder" in sentence
    assert not list(base.rglob("*escaped*"))
    assert not os.path.exists("/tmp/escaped-slmsam2")
    assert not list((base / "sessions").glob("*"))


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("zip", [("link", b"", "/etc")]),
        ("tar.gz", [("link", tarfile.SYMTYPE, "/etc")]),
        ("tar.gz", [("link", tarfile.LNKTYPE, "/etc/hostname")]),
        ("tar.gz", [("link", tarfile.SYMTYPE, ".."), ("link/escaped", b"x", None)]),
        ("tar.gz", [("device", tarfile.CHRTYPE, "")]),
        ("tar.gz", [("pipe", tarfile.FIFOTYPE, "")]),
    ],
    ids=["zip link", "symbolic", "hard", "through a link", "device", "pipe"],
)
def test_archives_with_links(closed, kind, members):
    sent = archive(kind, *members)
    sentence = refused(ask(closed, "PUT", "session/?uncompress=true", files={"files": (f"x.{kind}", sent)}))
    assert "no plain file" in sentence


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04damaged", b"\x1f\x8bdamaged"])
def test_archives_that_are_none(closed, content):
    refused(ask(closed, "PUT", "session/?uncompress=true", files={"files": ("x.zip", content)}))


@pytest.mark.parametrize("name", ["..", "a/..", "meta.info", ".hidden", "nul\x00"])
def test_names_of_session_files(closed, name):
    status, content = ask(closed, "PUT", "session/", files={"files": (name, b"1")})
    assert 400 <= status < 500, content


def test_weights_are_not_taken_from_clients(closed):
    refused(ask(closed, "PUT", "model/slmsam2", files={"file": ("x.pt", b"weights")}))
    refused(ask(closed, "DELETE", "model/slmsam2"))


DETACHED = {
    "x.nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 40 36 14\nencoding: raw\ndata file: {}\n\n",
    "x.nhdr": "NRRD0004\rtype: uint8\rdimension: 3\rsizes: 40 36 14\rencoding: raw\rDataFile:{}\r\r",
    "y.nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 40 36 14\nencoding: raw\ndata file: LIST\n{}\n",
    "x.mha": "ObjectType = Image\nNDims = 3\nDimSize = 40 36 14\nElementType = MET_UCHAR\nElementDataFile = {}\n",
    "x.mhd": "ObjectType = Image\nNDims = 3\nDimSize = 40 36 14\nElementType = MET_UCHAR\nElementDataFile : {}\n",
}


@pytest.mark.parametrize("name", DETACHED)
@pytest.mark.parametrize("field", ["label", "file"])
def test_headers_whose_voxels_are_another_file(closed, base, name, field):
    """The painted slices come back as they are: bytes of any file of the server would."""
    stolen = base / "tmp" / "stolen.bin"
    stolen.write_bytes(bytes(range(1, 241)) * 84)
    header = DETACHED[name].format(stolen).encode()
    try:
        image = "?image=phantom" if field == "label" else ""
        files = {"label": ("x.bin", bytes(20160)), field: (name, header)}
        assert "voxels" in refused(ask(closed, "POST", f"infer/slmsam2{image}", files=files))
        path = "datastore/label?image=phantom&tag=x" if field == "label" else "datastore/image"
        if name in ("x.nhdr", "x.mhd"):
            refused(ask(closed, "PUT", path, files={field: (name, header)}))
    finally:
        stolen.unlink()


def test_volumes_that_say_they_are_enormous(closed, base):
    header = (
        DETACHED["x.nrrd"].replace("40 36 14", "40000 40000 40000").replace("data file: {}\n", "").encode()
    )
    status, content = ask(closed, "POST", "infer/slmsam2?image=phantom", files={"label": ("x.nrrd", header)})
    assert status == 413
    assert b"most_megavoxels" in content
