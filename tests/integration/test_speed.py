"""Speeds: what they change in a network, and what the benchmark says they cost."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.benchmark import variants_of
from slmsam2.benchmark.gpu import matrix_product_rate, operations
from slmsam2.benchmark.growth import winding_rods
from slmsam2.benchmark.runs import FIRST, GpuCost
from slmsam2.benchmark.tables import markdown, write_cost_figure
from slmsam2.engine import propagate_volume
from slmsam2.engine.features import FeatureCache
from slmsam2.errors import ConfigurationError
from slmsam2.modeling import build_model
from slmsam2.modeling.speed import has_bfloat16

pytestmark = pytest.mark.integration


def test_quality_is_the_default_and_changes_nothing():
    network = build_model("slm_sam2_hiera_t", overrides={"image_size": 128})
    assert network.image_size == 128
    assert (network.info["speed"], network.info["encoder"]) == ("quality", "float32")


@pytest.mark.parametrize(("speed", "size"), [("balanced", 192), ("fast", 128)])
def test_faster_networks_see_less(speed, size):
    network = build_model("slm_sam2_hiera_t", overrides={"image_size": 256}, speed=speed)
    assert network.image_size == size
    half = has_bfloat16(torch.device("cpu"))
    assert network.info["encoder"] == ("bfloat16" if half else "float32")


@pytest.mark.parametrize(
    ("speed", "size", "stride"), [("quality", 256, 1), ("balanced", 224, 2), ("fast", 192, 4)]
)
def test_faster_embedded_models_look_at_fewer_slices(speed, size, stride):
    network = build_model("slm_sam2_nano", speed=speed)
    assert (network.image_size, network.stride) == (size, stride)


def test_unknown_speed():
    with pytest.raises(ConfigurationError, match="quality, balanced, fast"):
        build_model("slm_sam2_nano", speed="faster")


def test_features_of_a_bfloat16_encoder_are_float32(network, frames):
    exact = FeatureCache(network, frames)[0]
    network.info["encoder"] = "bfloat16"
    try:
        rounded = FeatureCache(network, frames)[0]
    finally:
        network.info["encoder"] = "float32"
    for one, other in zip(exact.feats, rounded.feats, strict=True):
        assert other.dtype == torch.float32
        assert 0 < (one - other).abs().max() < 0.1 * one.abs().max()


def test_the_report_says_at_which_speed():
    image, label = winding_rods(12, 2)
    assert set(np.unique(label)) == {0, 1, 2}
    assert label[..., 6].any()
    assert not np.delete(label, 6, axis=2).any()
    _, report = propagate_volume(image, label, axis=2, speed="fast")
    assert report["speed"] == "fast"


def test_bench_compares_with_the_package(tmp_path):
    path = Path(__file__).resolve().parents[2] / "scripts" / "bench.py"
    spec = importlib.util.spec_from_file_location("bench", path)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    wanted = ["--models", "slm_sam2_hiera_t", "--sizes", "128", "--speeds", "quality", "--slices", "3"]
    assert bench.main([*wanted, "--structures", "spleen", "liver", "--output", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "costs.csv").open()))
    assert "sam2 package" in rows[0]["variant"]
    assert float(rows[0]["ratio"]) == 1
    first = [row for row in rows if row["run"] == "first run"]
    half = [row for row in first if "bfloat16" in row["variant"]]
    assert len(half) == has_bfloat16(torch.device("cpu"))
    assert len(first) == 3 + len(half)
    assert all(float(row["agreement"]) > 0.999 for row in first if row not in half)
    assert all(float(row["agreement"]) > 0.9 for row in half)
    assert all(float(row["cpu_seconds"]) > 0 and 100 < float(row["peak_mib"]) < 10_000 for row in rows)
    assert [row["run"] for row in rows[1:5]] == [
        "first run",
        "re-run",
        "a further structure",
        "several structures at once",
    ]
    assert (tmp_path / "costs.md").read_text().count("\n") == len(rows) + 2
    assert (tmp_path / "costs.png").stat().st_size > 10_000


def test_on_a_gpu_sam2_and_quality_are_compared_in_bfloat16_too():
    speeds = ["quality", "fast"]
    hiera, nano = variants_of(["slm_sam2_hiera_t", "slm_sam2_nano"], [512], speeds, torch.device("cuda"))
    assert [(one.sam2, one.speed, one.autocast) for one in hiera] == [
        (True, "quality", False),
        (True, "quality", True),
        (False, "quality", False),
        (False, "quality", True),
        (False, "fast", False),
    ]
    assert [(one.speed, one.autocast) for one in nano] == [
        ("quality", False),
        ("quality", True),
        ("fast", False),
    ]
    assert hiera[1].label == "SAM 2.1 hiera_t (sam2 package), all in bfloat16"


def test_operations_of_a_network_and_of_a_matrix_product(network, frames):
    one, other = torch.ones(3, 4), torch.ones(4, 5)
    assert operations(lambda: one @ other) == 2 * 3 * 4 * 5
    features = FeatureCache(network.requires_grad_(False), frames, max_bytes=0)
    try:
        once = operations(lambda: features[0])
        assert operations(lambda: [features[1], features[2]]) == 2 * once > 10**7
    finally:
        network.requires_grad_(True)
    assert matrix_product_rate(torch.device("cpu"), side=64) > 10**6


def test_a_table_of_a_gpu(tmp_path):
    cost = GpuCost("a network", 512, FIRST, 1, 8, 0.1, 0.2, 1.0, 1500.0, 1.0, 25.0, 0.125)
    assert markdown([cost]).splitlines() == [
        "| network | image size | run | ms per slice | ratio | peak GPU memory, MiB | share of peak | agreement |",
        "|---|---|---|---|---|---|---|---|",
        "| a network | 512 | first run | 25.0 | 1.00 | 1500 | 0.125 | 1.000 |",
    ]
    write_cost_figure(tmp_path / "costs.png", [cost])
    assert (tmp_path / "costs.png").stat().st_size > 5_000
