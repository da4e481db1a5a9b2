"""Requests made up by schemathesis from the server's own description of its API, sharpened with names that exist."""

from __future__ import annotations

import copy
import io
import json
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from server_studies import AFFINE, painted_slice, phantom

from damage import WAYS

SHAPE = (20, 18, 7)
IMAGES = ("phantom", "saved", "text", "fuzzed")
MODELS = ("slmsam2", "slmsam2_points", "slmsam2_slice", "slmsam2_saved")
KNOWN = {
    "image": IMAGES,
    "id": ("fuzzed",),  # to be deleted: the others stay
    "label": IMAGES,
    "tag": ("final", "original", "fuzzed"),
    "output": ("all", "json", "image", "dicom_seg"),
    "model": MODELS,
    "strategy": ("random", "least_confident", "most_different"),
    "method": ("dice",),
    "request_id": ("fuzzed",),
    "name": ("extension.js", "panel.js"),
    "check_sum": ("SHA256:0", "MD5:", "SHA256"),
    "lines": (0, -1, 1, 2**31, 2**70),
    "expiry": (0, -1, 1, 2**70),
    "limit_cases": (0, -1, 1, 2**70),
}
TEXTS = ("params", "info", "wsi")  # fields of forms that are no files
OFTEN = {"file": 2, "session_id": 1, "output": 3}  # how often these come with a request, in eighths
# what starts a process of its own is asked for less often than the rest
COSTLY = ("POST /train/", "POST /batch/infer/", "POST /scoring/")
SHARE = {"POST /infer/{model}": 4.0}
# routes that the description leaves out
HIDDEN = {
    "/slmsam2/ohif/{name}": ["get"],
    "/ohif/{name}": ["get"],
    "/proxy/dicom/{name}": ["get", "post"],
    "/datastore/": ["put", "delete"],
    "/datastore/updatelabelinfo": ["put"],
    "/train/": ["post"],
    "/scoring/": ["post"],
    "/reload": ["post"],
}
ROUND = 1000  # requests, after which all routes have their turn again
LIKE = {"/datastore/": "/datastore/image", "/datastore/updatelabelinfo": "/datastore/label/info"}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 25)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
slices = st.integers(-1, SHAPE[2])
points = st.lists(st.lists(st.integers(-1, 20), min_size=3, max_size=3), max_size=3)
SENSIBLE: dict[str, st.SearchStrategy] = {
    "label_info": st.just([{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}]),
    "structures": st.lists(st.sampled_from(["liver", "spleen", "x"]), max_size=2),
    "selected_label_name": st.sampled_from(["liver", "spleen", "x"]),
    "prompt_slices": st.lists(slices, max_size=3)
    | st.dictionaries(
        st.just("liver"),
        st.lists(slices) | st.dictionaries(st.sampled_from(["0", "1", "2", "3"]), st.lists(slices)),
    ),
    "axis": st.sampled_from([0, 1, 2, "auto", 3]),
    "window": st.sampled_from(["40/400", [40, 400], "0/0", "400"]),
    "preset": st.sampled_from(["abdomen", "lung", "auto", "small", "none"]),
    "direction": st.sampled_from(["both", "forward", "backward", "up"]),
    "first_slice": slices,
    "last_slice": slices,
    "keep_largest": st.booleans(),
    "fill_holes": st.booleans(),
    "smooth_slices": st.booleans(),
    "foreground": points,
    "background": points,
    "roi": st.lists(st.integers(-1, 20), min_size=6, max_size=6),
    "slice": slices,
    "undo": st.booleans(),
    "start_anew": st.booleans(),
    "tag": st.sampled_from(KNOWN["tag"]),
    "request_id": st.just("fuzzed"),
    "client_id": st.sampled_from(["ann", "bob"]),
    "speed": st.sampled_from(["fast", "quality", "none"]),
    "device": st.sampled_from(["cpu", "cuda", "tpu"]),
    "result_extension": st.sampled_from([".nii.gz", ".nrrd", ".mha", ".exe"]),
    "result_dtype": st.sampled_from(["uint8", "float32", "text"]),
    "save_label": st.booleans(),
    "label_tag": st.sampled_from(KNOWN["tag"]),
    "minutes": st.sampled_from([0.01, 0, -1, "soon"]),
    "gpus": st.sampled_from(["all", "0", 0]),
    "max_workers": st.integers(-1, 2),
    "max_batch_size": st.integers(-1, 2),
    "multi_gpu": st.booleans(),
    "strategy": st.just({"random": {"ts": 1}}),
    "correction": st.just({"dice": 1, "ts": 1, "per_structure": {"liver": 1}}),
}
chosen = st.lists(st.sampled_from(sorted(SENSIBLE)), max_size=4, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: SENSIBLE[name] for name in names})
)
altered = st.builds(
    lambda given, name, value: {**given, name: value}, chosen, st.sampled_from(list(SENSIBLE)), anything
)
a_request = chosen | chosen | altered | anything
as_json = st.integers(0, 9).flatmap(
    lambda n: st.builds(json.dumps, a_request) if n < 9 else st.text(max_size=8)
)


@dataclass
class Findings:
    """What came back.

    Attributes:
        statuses: route -> how often which status.
        failures: route -> the first requests that were answered with 5xx, or not at all.
    """

    statuses: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def requests(self) -> int:
        return sum(counts.total() for counts in self.statuses.values())


def make_fuzz_studies(folder: Path) -> Path:
    """Two small images, one with a final label, and a file that is none."""
    image, label = phantom(SHAPE)
    (folder / "labels" / "final").mkdir(parents=True)
    for name in ("phantom", "saved"):
        nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(label, AFFINE), folder / "labels" / "final" / "saved.nii.gz")
    (folder / "text.nii.gz").write_text("this is not an image")
    return folder


def fuzz(url: str, examples: int, number: int, only: str = "") -> Findings:
    """Send about ``examples`` requests, shared among all routes.

    Args:
        url: of the server.
        examples: how many.
        number: of the seed; the same number sends the same requests.
        only: routes with this text in them.
    """
    described = _with_hidden(requests.get(f"{url}/openapi.json", timeout=60).json())
    operations = [each.ok() for each in schemathesis.openapi.from_dict(described).get_all_operations()]
    operations = [each for each in operations if only in each.label]
    operations.sort(key=lambda each: each.method == "delete")
    findings, files = Findings(), uploads(random.Random(number))
    known = KNOWN | {"session_id": [_session(url, *file) for file in (files[9], files[10])]}
    weights = {each.label: _weight(each.label) for each in operations}
    rounds = -(-examples // ROUND)
    for turn in range(rounds):
        for operation in operations:
            share = max(1, round(examples / rounds * weights[operation.label] / sum(weights.values())))
            _fuzz_one(url, operation, share, number * 1000 + turn, known, files, findings)
    return findings


def _session(url: str, name: str, content: bytes) -> str:
    answer = requests.put(f"{url}/session/", files={"files": (name, content)}, timeout=60)
    return str(answer.json()["session_id"])


def _weight(label: str) -> float:
    return 0.25 if label.startswith(COSTLY) else SHARE.get(label, 1.0)


def _with_hidden(described: dict[str, Any]) -> dict[str, Any]:
    paths = described["paths"]
    for path, methods in HIDDEN.items():
        for method in methods:
            like = paths.get(LIKE.get(path), {}).get(method)
            paths.setdefault(path, {})[method] = copy.deepcopy(like) if like else _plain(path)
    return described


def _plain(path: str) -> dict[str, Any]:
    named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
    return {"parameters": named if "{name}" in path else [], "responses": {"200": {"description": "OK"}}}


def uploads(chance: random.Random) -> list[tuple[str, bytes]]:
    """Files to send, (name, content): whole, damaged and none at all."""
    image, label = phantom(SHAPE)
    found = [
        ("x.nii.gz", b""),
        ("", b"\0"),
        ("x.zip", b"PK\3\4"),
        ("x.bin", bytes(label.size)),
        ("x.txt", b"x"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for array in (image, label, painted_slice(label, 3), label.astype(np.float32) * np.nan):
            path = Path(folder) / "x.nii.gz"
            nib.save(nib.Nifti1Image(array, AFFINE), path)
            found.append(("fuzzed.nii.gz", path.read_bytes()))
    image_file, label_file, painted_file, empty_file = found[-4:]
    damaged = [("fuzzed.nii.gz", way(painted_file[1], chance)) for way in WAYS]
    return 9 * [painted_file] + 3 * [label_file, image_file] + [empty_file] + found[:-4] + damaged


def _fuzz_one(
    url: str,
    operation: Any,
    share: int,
    number: int,
    known: dict[str, Sequence[Any]],
    files: list[tuple[str, bytes]],
    findings: Findings,
) -> None:
    cases = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if next(operation.iter_parameters(), None) is not None or operation.body:
        cases = cases | cases | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @seed(number)
    @settings(
        max_examples=share,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, data=st.data())
    def send(case: Any, data: st.DataObject) -> None:
        arguments = _sharpened(case, data, known).as_transport_kwargs(base_url=url)
        _put_body(arguments, case, data, files)
        try:
            answer = requests.request(**arguments, timeout=120)
        except (requests.exceptions.InvalidHeader, UnicodeError):
            return  # cannot be sent at all
        except requests.RequestException as error:
            findings.statuses[operation.label]["none"] += 1
            findings.failures[operation.label].append(f"{error!r} to {_told(arguments)}")
            return
        findings.statuses[operation.label][answer.status_code] += 1
        if answer.status_code >= 500:
            findings.failures[operation.label].append(
                f"{answer.status_code} {answer.text[:300]!r} to {_told(arguments)}"
            )

    send()


def _told(arguments: dict[str, Any]) -> str:
    shown = {key: value for key, value in arguments.items() if value and key not in ("headers", "cookies")}
    return io.StringIO(repr(shown)).read(1500)


def _sharpened(case: Any, data: st.DataObject, known: dict[str, Sequence[Any]]) -> Any:
    """Names of things that exist in place of made-up ones, most times."""
    for each in case.operation.iter_parameters():
        in_path = each.location == ParameterLocation.PATH
        place, often = (
            case.path_parameters if in_path else case.query,
            6 if in_path else OFTEN.get(each.name, 6),
        )
        if each.name in known and data.draw(st.integers(0, 7)) < often:
            if place is None:
                case.query = place = {}
            place[each.name] = data.draw(st.sampled_from(known[each.name]))
    return case


def _put_body(
    arguments: dict[str, Any], case: Any, data: st.DataObject, files: list[tuple[str, bytes]]
) -> None:
    """A body that gets further than made-up bytes do, three times out of four."""
    properties = _properties(case)
    if properties is None or data.draw(st.integers(0, 3)) == 3:
        return
    for name in ("json", "data", "files"):
        arguments.pop(name, None)
    arguments["headers"] = {k: v for k, v in arguments["headers"].items() if k.lower() != "content-type"}
    if not properties:
        arguments["data"] = json.dumps(data.draw(a_request)).encode()
        arguments["headers"]["Content-Type"] = "application/json"
        return
    names = [name for name in sorted(properties) if data.draw(st.integers(0, 7)) < OFTEN.get(name, 7)]
    arguments["data"] = {
        name: data.draw(as_json).encode("utf-8", "replace") for name in names if name in TEXTS
    }
    arguments["files"] = [(name, data.draw(st.sampled_from(files))) for name in names if name not in TEXTS]


def _properties(case: Any) -> dict[str, Any] | None:
    """Names of the fields of a form; {} for a JSON object; None: the route takes no body."""
    content = (case.operation.definition.raw.get("requestBody") or {}).get("content")
    if not content:
        return None
    ((kind, described),) = content.items()
    if kind == "application/json":
        return {}
    name = described["schema"]["$ref"].rsplit("/", 1)[1]
    return case.operation.schema.raw_schema["components"]["schemas"][name]["properties"]
