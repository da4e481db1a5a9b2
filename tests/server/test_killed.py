"""A server that is killed a few times at random moments; ``scripts/kill_test.py`` does it more often."""

import json

import pytest
from killed import IMAGES, Tally, body, check_files, kill_again_and_again, make_killed_studies

pytestmark = pytest.mark.server


def test_killed_at_random_moments(tmp_path):
    tally = kill_again_and_again(tmp_path, kills=4, seed=1, longest=5)
    assert tally.problems == []
    assert tally.counts["kills"] == 4
    assert tally.counts["labels"] > 10
    assert tally.counts["while inferring"] > 0
    assert tally.counts["while training"] > 0


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("labels/final/first.nii.gz", body(1), None),
        ("labels/final/first.nii.gz", body(1)[:-40], "first"),
        (".second.nii.gz.12-34", b"", "not listed"),
        ("labels/final/second.nii.gz", body(1), "not listed"),
        ("third.nii.gz", body(1), "not listed"),
    ],
)
def test_what_is_broken_is_found(tmp_path, name, content, problem):
    """The look at the files of a killed server, on files that are as they must never be."""
    studies = make_killed_studies(tmp_path / "studies")
    file = studies / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    listed = {image: {"labels": {}} for image in IMAGES}
    if name == "labels/final/first.nii.gz":
        listed["first"]["labels"]["final"] = {}
    (studies / "datastore_v2.json").write_text(json.dumps({"objects": listed}))
    (studies / ".lock").touch()
    tally = Tally()
    check_files(studies, listed, tally)
    assert bool(tally.problems) == (problem is not None)
    assert problem is None or problem in tally.problems[0]
