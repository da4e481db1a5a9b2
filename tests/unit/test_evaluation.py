"""The benchmark: tasks from a file, scores by hand, the baselines on a made-up volume."""

import csv
import json

import nibabel
import numpy as np
import pytest

from slmsam2.errors import ConfigurationError
from slmsam2.evaluation import METHODS, Outcome, read_benchmark, score, tasks_of
from slmsam2.evaluation.scores import hausdorff95
from slmsam2.evaluation.tables import summaries, write_figure
from slmsam2.tables import write_rows

pytestmark = pytest.mark.unit

SPACING = (1.0, 1.0, 2.0)


@pytest.fixture
def volumes(tmp_path):
    """A volume with a bar of 6 x 8 pixels that moves 2 pixels per slice along x, on slices 4 to 12 of 20."""
    label = np.zeros((48, 40, 20), np.uint8)
    for z in range(4, 13):
        label[8 + 2 * z : 14 + 2 * z, 10:18, z] = 3
    image = label.astype(np.float32) * 100 + np.random.default_rng(0).normal(0, 2, label.shape)
    folder = tmp_path / "volumes" / "bar"
    folder.mkdir(parents=True)
    affine = np.diag([*SPACING, 1.0])
    nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), affine), folder / "image.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), folder / "label.nii.gz")
    (folder / "labels.json").write_text(json.dumps({"bar": 3}))
    return folder.parent


@pytest.fixture
def benchmark(volumes, tmp_path):
    path = tmp_path / "benchmark.yaml"
    path.write_text("volumes: {bar: {structures: [bar], references: drawn by hand}}")
    return read_benchmark(path, volumes)


def test_tasks(benchmark):
    largest, quarter = tasks_of(benchmark, "bar")
    assert (largest.prompt, quarter.prompt) == ("largest", "quarter")
    assert largest.slice == 4  # all are alike: the lowest
    assert quarter.slice == 6
    assert quarter.painted.sum() == quarter.painted[:, :, 6].sum() == 48
    assert benchmark.references == {"bar": "drawn by hand"}


def test_a_label_stored_in_another_order_is_put_on_the_image_s_grid(benchmark):
    upright = next(tasks_of(benchmark, "bar")).reference
    path = benchmark.folder / "bar" / "label.nii.gz"
    label = nibabel.load(path)
    flip = nibabel.orientations.axcodes2ornt("LPI")
    nibabel.save(label.as_reoriented(flip), path)
    assert not np.array_equal(np.asarray(nibabel.load(path).dataobj) == 3, upright)
    np.testing.assert_array_equal(next(tasks_of(benchmark, "bar")).reference, upright)


def test_mistakes_in_a_benchmark_are_told(volumes, tmp_path):
    path = tmp_path / "benchmark.yaml"
    path.write_text("volumes: {heart: {}}")
    with pytest.raises(ConfigurationError, match="heart"):
        read_benchmark(path, volumes)
    path.write_text("volumes: {bar: {structures: [foo]}}")
    with pytest.raises(ConfigurationError, match="foo"):
        list(tasks_of(read_benchmark(path, volumes), "bar"))
    path.write_text("no volumes")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_benchmark(path, volumes)


def test_score_by_hand(benchmark):
    task = next(tasks_of(benchmark, "bar"))
    mask = task.reference.copy()
    mask[..., 12] = False  # one slice missed at the high end
    mask[10:20, 10:18, 2:4] = True  # two drawn past the low end
    result = score(task, "made up", Outcome(mask, 10, 5.0))
    assert (result.over_low, result.over_high, result.missed_low, result.missed_high) == (2, 0, 0, 1)
    assert result.dice == pytest.approx(2 * 8 * 48 / (9 * 48 + 8 * 48 + 160))
    assert result.cpu_seconds_per_slice == 0.5
    assert result.reference_slices == 9


def test_hausdorff_is_in_millimetres():
    one, other = np.zeros((2, 10, 10, 10), bool)
    one[2:6, 2:6, 2] = True
    other[2:6, 2:6, 5] = True
    assert hausdorff95(one, other, SPACING) == pytest.approx(6.0)
    assert hausdorff95(one, one, SPACING) == 0
    assert hausdorff95(one, np.zeros_like(one), SPACING) == float("inf")


def test_flow_follows_what_the_repeated_slice_leaves(benchmark):
    largest, quarter = tasks_of(benchmark, "bar")
    for task in (largest, quarter):
        flow, repeated = (METHODS[name](task, None) for name in ("tvl1_flow_in_extent", "repeated_in_extent"))
        assert score(task, "flow", flow).dice > 0.8
        assert score(task, "repeated", repeated).dice < 0.7
        assert flow.slices == repeated.slices == 9


def test_tables(benchmark, tmp_path):
    scores = [
        score(task, name, METHODS[name](task, None))
        for task in tasks_of(benchmark, "bar")
        for name in ("repeated_in_extent", "tvl1_flow_in_extent")
    ]
    assert [(s.prompt, s.method, s.tasks) for s in summaries(scores)] == [
        ("largest", "repeated_in_extent", 1),
        ("largest", "tvl1_flow_in_extent", 1),
        ("quarter", "repeated_in_extent", 1),
        ("quarter", "tvl1_flow_in_extent", 1),
    ]
    write_rows(tmp_path / "scores.csv", scores)
    with (tmp_path / "scores.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 4
    assert float(lines[0]["dice"]) == pytest.approx(scores[0].dice, abs=1e-4)
    write_figure(tmp_path / "scores.png", scores)
    assert (tmp_path / "scores.png").stat().st_size > 10_000
