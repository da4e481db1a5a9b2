"""MONAI Label's authentication on its routes and on ours, with tokens signed by a key of the test's own."""

import base64
import contextlib
import http.server
import json
import threading
import time

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from server_process import running_server
from server_studies import make_studies, painted_slice, phantom, write_nifti

pytestmark = pytest.mark.server

OURS = [  # method, path, least role
    ("POST", "/infer/slmsam2?image=phantom", "user"),
    ("POST", "/activelearning/random", "user"),
    ("GET", "/slmsam2/progress/some", "user"),
    ("DELETE", "/slmsam2/progress/some", "user"),
    ("GET", "/slmsam2/metrics", "user"),
    ("GET", "/slmsam2/ohif/mode.js", "user"),
    ("GET", "/ohif/app-config.js", "user"),
    ("GET", "/proxy/dicom/studies", "user"),
    ("POST", "/proxy/dicom/studies", "annotator"),
    ("GET", "/datastore/image?image=phantom", "user"),
    ("GET", "/datastore/label?label=phantom&tag=final", "user"),
    ("GET", "/session/some", "user"),
    ("PUT", "/session/", "user"),
    ("PUT", "/datastore/image", "annotator"),
    ("PUT", "/datastore/label?image=phantom", "annotator"),
    ("PUT", "/datastore/label/info?label=phantom&tag=final", "annotator"),
    ("PUT", "/datastore/updatelabelinfo?label=phantom&tag=final", "annotator"),
    ("GET", "/slmsam2/review/phantom", "user"),
    ("POST", "/slmsam2/review/phantom", "annotator"),
    ("GET", "/datastore/dataset", "annotator"),
    ("DELETE", "/datastore/image?id=nobody", "admin"),
    ("DELETE", "/datastore/label?id=nobody&tag=final", "admin"),
    ("GET", "/train/", "user"),
    ("POST", "/train/nobody", "admin"),
    ("DELETE", "/train/", "admin"),
    ("POST", "/scoring/nobody", "annotator"),
    ("POST", "/batch/infer/nobody", "admin"),
    ("GET", "/logs/", "admin"),
    ("GET", "/logs/gpu", "admin"),
    ("POST", "/infer/wsi_v2/slmsam2", "user"),
]
ROLES = ("user", "annotator", "admin")


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def key():
    return new_key()


@contextlib.contextmanager
def running_realm(keys):
    """Answers as Keycloak does when asked for its public key, the last one of a list."""

    class Realm(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            public = keys[-1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"public_key": base64.b64encode(public).decode()}).encode())

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Realm) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/realms/test"
        server.shutdown()


@contextlib.contextmanager
def guarded_server(base, keys):
    with running_realm(keys) as realm:
        settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
        with running_server(base, make_studies(base / "studies"), **settings) as server:
            yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, key):
    with guarded_server(tmp_path_factory.mktemp("guarded"), [key]) as server:
        yield server


def token(key, *roles, algorithm="RS256", seconds=60, name="ann"):
    claims = {"preferred_username": name, "exp": time.time() + seconds}
    claims["realm_access"] = {"roles": [f"monailabel-{role}" for role in roles]}
    return jwt.encode(claims, key, algorithm)


def ask(server, method, path, sent=None, **arguments):
    headers = {} if sent is None else {"Authorization": f"Bearer {sent}"}
    return requests.request(method, server.url + path, headers=headers, timeout=30, **arguments)


@pytest.mark.parametrize(("method", "path", "role"), OURS)
def test_nobody_without_a_token_and_nobody_below_the_role(guarded, key, method, path, role):
    files = dict.fromkeys(("file", "files", "label"), ("x.nii.gz", b"")) if method == "PUT" else None
    assert ask(guarded, method, path, files=files).status_code == 401
    for held in ROLES:
        status = ask(guarded, method, path, token(key, held), files=files).status_code
        assert (status == 403) == (held != role), (held, status)
        assert status != 401


def test_nobody_builds_the_app_anew(guarded, key):
    """What was built anew would learn nothing and score nothing."""
    for role in ROLES:
        answer = ask(guarded, "POST", "/reload", token(key, role))
        assert (answer.status_code, "Restart the server" in answer.json()["detail"]) == (403, True)


def test_the_server_says_to_whom_it_talks(guarded, key):
    for name in ("ann", "bob"):
        answer = ask(guarded, "GET", "/info/", token(key, "user", name=name))
        assert answer.json()["annotator"] == name


def test_tokens_that_are_not_good(guarded, key):
    nobody = {"exp": time.time() + 60}
    bad = [
        token(new_key(), "user"),
        token(ec.generate_private_key(ec.SECP256R1()), "user", algorithm="ES256"),
        jwt.encode(nobody | {"preferred_username": "ann"}, key, "RS256"),
        jwt.encode(nobody | {"realm_access": {"roles": ["monailabel-user"]}}, key, "RS256"),
        token(key, "user", seconds=-10),
        token("a secret that everybody knows, of 32 bytes", "user", algorithm="HS256"),
        token(None, "user", algorithm="none"),
        token(key, "user")[:-8] + "AAAAAAAA",
        "nonsense",
    ]
    for sent in bad:
        assert ask(guarded, "GET", "/info/", sent).status_code == 401
    assert ask(guarded, "GET", "/info/", token(key, "user")).status_code == 200
    assert ask(guarded, "GET", "/info/", token(key)).status_code == 403
    assert ask(guarded, "GET", "/slmsam2/health").status_code == 200


def test_a_realm_that_signs_with_another_key_is_asked_again(tmp_path, key):
    keys = [key]
    with guarded_server(tmp_path, keys) as server:
        assert ask(server, "GET", "/info/", token(key, "user")).status_code == 200
        keys.append(new_key())
        assert ask(server, "GET", "/info/", token(keys[-1], "user")).status_code == 200
        assert ask(server, "GET", "/info/", token(key, "user")).status_code == 401
        keys.append(new_key())
        assert ask(server, "GET", "/info/", token(keys[-1], "user")).status_code == 401  # within a minute


def test_an_account_of_a_program_reads_the_metrics_and_saves_nothing(guarded, key):
    """As Keycloak makes a token for a client with a service account: nobody's name or address in it."""
    claims = {
        "exp": time.time() + 60,
        "preferred_username": "service-account-prometheus",
        "azp": "prometheus",
    }
    sent = jwt.encode(claims | {"realm_access": {"roles": ["monailabel-user"]}}, key, "RS256")
    answer = ask(guarded, "GET", "/slmsam2/metrics", sent)
    assert (answer.status_code, "slmsam2_inferences" in answer.text) == (200, True)
    files = {"label": ("x.nii.gz", b"")}
    assert ask(guarded, "PUT", "/datastore/label?image=phantom", sent, files=files).status_code == 403


@pytest.mark.parametrize("answers", [False, True], ids=["nobody answers", "it is no realm"])
def test_without_a_realm_nobody_signs_in_and_a_sentence_says_why(tmp_path, key, answers):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        realm = f"http://127.0.0.1:{other.server_port}/realms/test"
        if answers:
            threading.Thread(target=other.serve_forever, daemon=True).start()
        else:
            other.server_close()
        settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
        with running_server(tmp_path, make_studies(tmp_path / "studies"), **settings) as server:
            login = {"username": "ann", "password": "secret"}
            for answer in (
                ask(server, "GET", "/info/", token(key, "user")),
                ask(server, "GET", "/slmsam2/metrics", token(key, "user")),
                ask(server, "POST", "/auth/token", data=login),
            ):
                assert answer.status_code == 503
                assert "MONAI_LABEL_AUTH_REALM_URI" in answer.json()["detail"]
            assert ask(server, "GET", "/info/").status_code == 401
            assert ask(server, "GET", "/slmsam2/health").status_code == 200
            assert "Traceback" not in server.log.read_text()
        if answers:
            other.shutdown()


def test_who_saved_a_label_is_noted(guarded, key, tmp_path):
    file = write_nifti(tmp_path / "label.nii.gz", phantom()[1])
    params = {"params": json.dumps({"user": "somebody else"})}
    with file.open("rb") as stream:
        sent = token(key, "annotator", name="ann")
        path = "/datastore/label?image=phantom"
        assert ask(guarded, "PUT", path, sent, files={"label": stream}, data=params).status_code == 200
    info = ask(guarded, "GET", "/datastore/label/info?label=phantom&tag=final", token(key, "user")).json()
    assert info["user"] == "ann"


def test_who_reviewed_a_label_is_noted(guarded, key, tmp_path):
    rita, path = token(key, "annotator", "user", name="rita"), "/slmsam2/review/phantom"
    file = write_nifti(tmp_path / "label.nii.gz", phantom()[1])
    meta = {"status": "approved", "approvedBy": "somebody else"}
    params = {"params": json.dumps({"segmentationMeta": meta})}

    def reviewer(tag):
        info = ask(guarded, "GET", f"/datastore/label/info?label=phantom&tag={tag}", rita).json()
        return info["segmentationMeta"]["approvedBy"], info["user"]

    for tag in ("final", "version_1"):
        with file.open("rb") as stream:
            where = f"/datastore/label?image=phantom&tag={tag}"
            assert ask(guarded, "PUT", where, rita, files={"label": stream}, data=params).ok
        assert reviewer(tag) == ("rita", "rita")
    omar = token(key, "annotator", "user", name="omar")
    seen = ask(guarded, "GET", path, omar).json()["label"]
    answer = ask(guarded, "POST", path, omar, json={"status": "flagged", "mark": seen["mark"]}).json()[
        "label"
    ]
    assert (answer["reviewer"], answer["creator"]) == ("omar", "rita")
    where = "/datastore/updatelabelinfo?label=phantom&tag=version_1"
    assert ask(guarded, "PUT", where, omar, data=params).ok
    assert reviewer("version_1") == ("omar", "rita")


def test_a_result_is_saved_for_annotators_only(guarded, key, tmp_path):
    """An inference may save its result under any tag, over a label that is there."""
    file = write_nifti(tmp_path / "label.nii.gz", painted_slice(phantom()[1], 7)).read_bytes()
    saving = {"params": json.dumps({"save_label": True, "label_tag": "byinference"})}

    def infer(*roles):
        path, files = "/infer/slmsam2?image=phantom&output=json", {"label": ("label.nii.gz", file)}
        return ask(guarded, "POST", path, token(key, *roles), files=files, data=saving)

    answer, saved = infer("user"), "/datastore/label?label=phantom&tag=byinference"
    assert (answer.status_code, "monailabel-annotator" in answer.json()["detail"]) == (403, True)
    assert ask(guarded, "GET", saved, token(key, "user")).status_code == 404
    assert infer("user", "annotator").status_code == 200
    assert ask(guarded, "GET", saved, token(key, "user")).status_code == 200
