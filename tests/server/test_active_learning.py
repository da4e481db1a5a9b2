"""Next Sample and scoring, by the stock client, on a server of their own: they save labels."""

import json
import statistics
import threading
import time

import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from server_process import running_server
from server_studies import SHAPE, painted_slice, phantom, write_nifti

from slmsam2.metrics import dice
from slmsam2.modeling import checkpoint_path
from slmsam2.volume import read_label

pytestmark = pytest.mark.server

INFO = [{"name": "liver", "id": 1}, {"name": "spleen", "id": 2}]
BODIES = ("body0", "body1", "body2", "body3")
STRIPES = ("stripes0", "stripes1")


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    base = tmp_path_factory.mktemp("active")
    weights = checkpoint_path("slm_sam2_nano")
    (base / "model" / "checkpoints").mkdir(parents=True)
    (base / "model" / "checkpoints" / weights.name).symlink_to(weights)
    (base / "model" / "configs").symlink_to(weights.parents[1] / "configs")
    (base / "studies").mkdir()
    options = ["--conf", "model_dir", str(base / "model")]
    with running_server(base, base / "studies", *options) as server:
        server.features = base / "model" / "checkpoints" / "learned" / "slm_sam2_nano" / "features"
        yield server


@pytest.fixture
def serve(own_server, request):
    """Replaces the studies by new ones of new names: what was handed out before does not matter."""
    prefix = request.node.name[5:].replace("[", "_").replace("]", "_")

    def replace(*kinds):
        names = [f"{prefix}_{kind}" for kind in kinds]
        for old in own_server.studies.glob("*.nii.gz"):
            old.unlink()
        rng = np.random.default_rng(1)  # the phantom's own noise has seed 0
        for name in names:
            write_study(own_server.studies / f"{name}.nii.gz", rng)
        wait_for(lambda: set(objects(own_server)) == set(names))
        return names

    return replace


def write_study(path, rng):
    """A body, a volume of stripes, or a file that is no image, by its name."""
    noise = rng.normal(0, 20, SHAPE)
    if "body" in path.name:
        write_nifti(path, (phantom()[0] + noise).astype(np.int16))
    elif "stripes" in path.name:
        wave = 300 * np.sin(np.arange(SHAPE[0]) * 1.5)[:, None, None]
        write_nifti(path, (500 + wave + noise).astype(np.int16))
    else:
        path.write_text("this is not an image")


def objects(server):
    return requests.get(f"{server.url}/datastore/?output=all", timeout=30).json()["objects"]


def image_info(server, image):
    return requests.get(f"{server.url}/datastore/image/info", params={"image": image}, timeout=30).json()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
    return found


class Annotator(MONAILabelClient):
    def __init__(self, server, name, folder):
        super().__init__(server.url, tmpdir=str(folder), client_id=name)
        self.folder = folder

    def ask(self, strategy):
        return self.next_sample(strategy, {})["id"]

    def submit(self, image, label, tag="final", info=INFO):
        path = write_nifti(self.folder / f"{image}.nii.gz", label)
        return self.save_label(image, str(path), tag, {"label_info": info})


@pytest.fixture
def annotator(own_server, tmp_path):
    def make(name="me"):
        (tmp_path / name).mkdir(exist_ok=True)
        return Annotator(own_server, name, tmp_path / name)

    return make


@pytest.mark.parametrize("strategy", ["random", "least_confident", "most_different"])
def test_two_annotators_work_on_different_images(serve, annotator, strategy):
    names = serve("body0", "body1", "stripes0", "stripes1")
    she, he = annotator("she"), annotator("he")
    got = [she.ask(strategy), he.ask("random"), she.ask(strategy), he.ask(strategy)]
    assert sorted(got) == sorted(names)
    assert she.ask(strategy) == got[0]  # nothing is free: what she was handed first, again
    with pytest.raises(MONAILabelClientException, match=r"409.*All 4 images.*Ask again in 15 min"):
        annotator("third").ask(strategy)


def test_the_record_of_monai_label_names_the_same_client(serve, own_server):
    serve("body0", "body1")
    url = f"{own_server.url}/activelearning/random"
    first = requests.post(url, timeout=30).json()["id"]  # no body: MONAI Label's own name for unknown users
    second = requests.post(url, json={"client_id": None}, timeout=30).json()["id"]
    assert first != second
    records = [image_info(own_server, image)["strategy"]["random"]["client_id"] for image in (first, second)]
    assert records[0]
    assert records[0] == records[1]
    assert requests.post(url, timeout=30).json()["id"] == first


def test_annotators_who_ask_in_the_same_moment(serve, annotator):
    names = serve(*BODIES, *STRIPES)
    got = []
    people = [annotator(f"person{n}") for n in range(len(names))]
    threads = [threading.Thread(target=lambda p=p: got.append(p.ask("most_different"))) for p in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(got) == sorted(names)


def test_nothing_is_left(serve, annotator):
    me = annotator()
    me.submit(*serve("body0"), phantom()[1])
    for strategy in ("random", "least_confident", "most_different"):
        assert me.next_sample(strategy, {}) == {}


def test_unknown_strategy(serve, annotator):
    serve("body0")
    with pytest.raises(MONAILabelClientException, match=r"404.*random, least_confident, most_different"):
        annotator().ask("best")


def test_most_different_takes_the_other_family(serve, annotator, own_server):
    names = serve(*BODIES, *STRIPES, "text")
    me = annotator()
    me.submit(names[0], phantom()[1])
    sample = me.next_sample("most_different", {})
    assert "stripes" in sample["id"]
    assert sample["score"] > 0.1
    assert "Of 5 images" in sample["reason"]  # the text is not among those compared
    other = annotator("other").next_sample("most_different", {})
    # both families are in work: what is left looks like one of them
    assert other["score"] < sample["score"] / 3
    # and the other way round
    names = serve(*(f"new_{name}" for name in (*BODIES, *STRIPES)))
    me.submit(names[-1], np.ones(SHAPE, np.uint8))
    assert "body" in me.ask("most_different")
    assert len(list(own_server.features.glob("*.npz"))) == 1


def test_most_different_starts_in_the_middle_and_skips_what_it_cannot_read(serve, annotator, own_server):
    names = serve("body0", "body1", "body2", "stripes0", "text")
    me = annotator()
    first = me.next_sample("most_different", {})
    assert "body" in first["id"]
    assert "most typical of 4 images" in first["reason"]
    assert me.ask("most_different") == names[3]
    others = {name for name in names[:3] if name != first["id"]}
    assert {me.ask("most_different") for _ in others} == others
    assert me.ask("most_different") == first["id"]  # what is damaged is handed to nobody
    assert f"hands {names[4]}.nii.gz to nobody" in own_server.log.read_text()


def test_least_confident_after_inferences(serve, annotator, own_server, tmp_path):
    names = serve(*BODIES)
    me = annotator()
    confidence = {}
    for name, k in ((names[1], 7), (names[2], 3)):
        label = write_nifti(tmp_path / "painted.nii.gz", painted_slice(phantom()[1], k))
        me.infer("slmsam2", name, {"label_info": INFO}, label_in=str(label))
        note = image_info(own_server, name)["slmsam2"]
        assert 0 < note["confidence"] < 1
        assert note["version"]
        confidence[name] = note["confidence"]
    assert len(set(confidence.values())) == 2
    sample = me.next_sample("least_confident", {})
    assert sample["id"] == min(confidence, key=confidence.get)
    assert sample["score"] == confidence[sample["id"]]
    assert "sure of what it drew" in sample["reason"]
    assert me.ask("least_confident") == max(confidence, key=confidence.get)
    rest = me.next_sample("least_confident", {})
    assert rest["id"] in (names[0], names[3])
    assert "most different" in rest["reason"]  # of the two without any record


def test_others_are_answered_while_images_are_compared(serve, annotator, own_server):
    serve(*(f"body{n}" for n in range(24)))
    done = []
    thread = threading.Thread(target=lambda: done.append(annotator().next_sample("most_different", {})))
    thread.start()
    waits = []
    while thread.is_alive():
        begin = time.perf_counter()
        requests.get(f"{own_server.url}/info/", timeout=30)
        waits.append(time.perf_counter() - begin)
        time.sleep(0.05)
    thread.join()
    assert done, "no sample came"
    assert len(waits) >= 5, "it was too short to tell"
    assert statistics.median(waits) < 1


def test_what_was_proposed_counts_though_nobody_saved_it(serve, annotator, tmp_path):
    """As in 3D Slicer: paint, propagate, correct, submit."""
    (name,) = serve("body0")
    me, truth = annotator(), phantom()[1]
    info = [{"name": "liver", "id": 1}]

    def propagate(label):
        file = write_nifti(tmp_path / "painted.nii.gz", label.astype(np.uint8))
        answer, _ = me.infer(
            "slmsam2", name, {"label_info": info, "result_extension": ".nii.gz"}, label_in=str(file)
        )
        return read_label(answer).array

    first = propagate(painted_slice(truth, 7) == 1)
    corrected = first.copy()
    corrected[:, :, 9] = truth[:, :, 9] == 1
    assert (propagate(corrected) != first).any()
    me.submit(name, truth)
    summary = wait_for(lambda: (found := me.info()["correction"])["images"] and found)
    assert summary["per_structure"] == {"liver": pytest.approx(dice(first == 1, truth == 1), abs=1e-4)}
    assert summary["per_structure"]["liver"] < 1


def test_info_shows_how_much_is_corrected(serve, annotator, own_server, tmp_path):
    name, second = serve("body0", "body1")
    me = annotator()
    assert me.info()["correction"]["images"] == 0
    truth = phantom()[1]
    label = write_nifti(tmp_path / "painted.nii.gz", painted_slice(truth, 7))
    me.infer("slmsam2", name, {"label_info": INFO, "save_label": True}, label_in=str(label))
    # as 3D Slicer submits: other values, names by their place in the list
    swapped = np.choose(truth, [0, 2, 1]).astype(np.uint8)
    me.submit(name, swapped, info=[{"name": "spleen", "idx": 1}, {"name": "liver", "idx": 2}])
    summary = wait_for(lambda: (found := me.info()["correction"])["images"] and found)
    proposal = read_label(me.download_label(name, "original")).array
    expected = {
        organ: dice(proposal == value, truth == value) for organ, value in (("liver", 1), ("spleen", 2))
    }
    assert min(expected.values()) < 1
    assert summary["per_structure"] == pytest.approx(expected, abs=1e-4)
    assert summary["dice"] == pytest.approx(np.mean(list(expected.values())), abs=1e-4)
    assert summary["newest"]["images"] == 1
    assert "config" not in me.info()
    note = image_info(own_server, name)["correction"]
    assert note["per_structure"] == summary["per_structure"]
    assert requests.get(f"{own_server.url}/scoring/", timeout=30).status_code == 404  # it took no process
    # asked for by hand, MONAI Label scores in a process of its own
    cleared = {"info": json.dumps({"correction": {}})}
    requests.put(f"{own_server.url}/datastore/image/info", params={"image": name}, data=cleared, timeout=30)
    assert me.info()["correction"]["images"] == 0
    requests.post(f"{own_server.url}/scoring/dice", timeout=30).raise_for_status()
    time.sleep(1)
    me.submit(second, truth)  # meanwhile
    task = wait_for(
        lambda: (
            (status := requests.get(f"{own_server.url}/scoring/", timeout=30).json())["status"] != "RUNNING"
            and status
        ),
        120,
    )
    assert task["status"] == "DONE", task
    wait_for(lambda: me.info()["correction"] == summary)
    assert objects(own_server)[second]["labels"]["final"]["info"]["label_info"] == INFO
