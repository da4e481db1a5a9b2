"""Windows, and the frames made with them."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.volume import PRESETS, Frames, Volume, Window, choose_window, parse_window, read_volume

pytestmark = pytest.mark.unit

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def test_window_ends() -> None:
    window = Window(40, 400)
    assert (window.low, window.high) == (-160, 240)
    for level, width in [(0, 0), (0, -1), (np.nan, 1), (0, np.inf)]:
        with pytest.raises(ConfigurationError, match="40/400"):
            Window(level, width)


def test_parse_window() -> None:
    assert parse_window(None, None) is None
    assert parse_window("", "auto") is None
    assert parse_window([], "") is None
    assert parse_window("50/350", None) == Window(50, 350)
    assert parse_window(" -600 / 1500 ", None) == Window(-600, 1500)
    assert parse_window([40, 80], "lung") == Window(40, 80)
    assert parse_window(np.array([40, 80]), None) == Window(40, 80)
    assert parse_window(None, "bone") == PRESETS["bone"]
    assert set(PRESETS) == {"abdomen", "lung", "bone", "brain", "mediastinum"}


@pytest.mark.parametrize(
    "window", ["40", "a/b", "1/2/3", "40/0", "40/-5", "nan/1", [1], ["a", "b"], [None, 1], 40]
)
def test_parse_window_refuses(window: object) -> None:
    with pytest.raises(ConfigurationError, match="40/400"):
        parse_window(window, None)


def test_parse_window_lists_the_presets() -> None:
    with pytest.raises(ConfigurationError, match="abdomen, lung, bone, brain, mediastinum"):
        parse_window(None, "liver")
    with pytest.raises(ConfigurationError, match="There is no preset"):
        parse_window(None, ["lung"])


def ct(modality: str | None = None) -> Volume:
    """Air, lung at k = 1, soft tissue, bone at k = 3."""
    array = np.full((10, 10, 5), -1000, np.int16)
    array[2:8, 2:8] = np.array([50, -800, 40, 600, 60])
    return Volume(array, np.eye(4), modality)


@pytest.mark.parametrize("modality", [None, "CT"])
@pytest.mark.parametrize(("k", "preset"), [(0, "abdomen"), (1, "lung"), (2, "abdomen"), (3, "bone")])
def test_ct_gets_the_preset_of_what_was_painted(modality: str | None, k: int, preset: str) -> None:
    painted = np.zeros((10, 10, 5), bool)
    painted[3:6, 3:6, k] = True
    assert choose_window(ct(modality), painted) == PRESETS[preset]
    assert choose_window(ct(modality)) == PRESETS["abdomen"]


def test_along_an_axis_the_largest_slice_alone_counts_so_that_corrections_leave_the_window_as_it_is() -> None:
    volume = ct("CT")
    volume.array[2:8, 2:8, 1:4] = 600
    painted = np.zeros((10, 10, 5), bool)
    painted[3:6, 3:6, 0] = True
    painted[3:6, 3:5, 1:4] = True
    assert choose_window(volume, painted) == PRESETS["bone"]
    assert choose_window(volume, painted, 2) == PRESETS["abdomen"]
    painted[2:8, 2:8, 1] = True
    assert choose_window(volume, painted, 2) == PRESETS["bone"]
    assert choose_window(volume, np.zeros_like(painted), 2) == PRESETS["abdomen"]


def test_other_modalities_get_percentiles() -> None:
    values = np.arange(1000.0).reshape(10, 10, 10)
    window = choose_window(Volume(values, np.eye(4)))
    assert (window.low, window.high) == pytest.approx((0.005 * 999, 0.995 * 999))
    mr = ct("MR")
    assert choose_window(mr).low == pytest.approx(-1000)
    assert choose_window(mr) != PRESETS["abdomen"]


def test_background_and_non_finite_voxels_do_not_count() -> None:
    array = np.zeros((10, 10, 30))
    array[:, :, :10] = np.arange(1000.0).reshape(10, 10, 10) + 1000
    array[0, 0, 29], array[0, 1, 29] = np.nan, np.inf
    window = choose_window(Volume(array, np.eye(4)))
    assert (window.low, window.high) == pytest.approx((1000 + 0.005 * 999, 1000 + 0.995 * 999))


@pytest.mark.parametrize("shape", [(10, 10, 10), (150, 150, 150)])
def test_a_single_other_voxel_is_enough(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.uint8)
    array[7, 7, 7] = 1
    window = choose_window(Volume(array, np.eye(4)))
    assert (window.low, window.high) == (0, 1)


def test_images_without_content_are_refused() -> None:
    with pytest.raises(VolumeError, match="Every voxel of the image is 7"):
        choose_window(Volume(np.full((4, 4, 4), 7, np.int16), np.eye(4)))
    with pytest.raises(VolumeError, match="no finite voxel"):
        choose_window(Volume(np.full((4, 4, 4), np.nan), np.eye(4)))
    with pytest.raises(VolumeError, match="no finite voxel"):
        choose_window(Volume(np.full((4, 4, 4), np.inf), np.eye(4), "CT"))


def test_large_volumes_are_sampled() -> None:
    row = np.random.default_rng(0).normal(500, 100, 512).astype(np.int16)
    volume = Volume(np.broadcast_to(row, (400, 400, 512)), np.eye(4), "MR")
    start = time.process_time()
    window = choose_window(volume)
    assert time.process_time() - start < 3
    assert (window.low, window.high) == pytest.approx(np.percentile(row, [0.5, 99.5]), abs=60)


def test_real_volumes_are_recognised(shared) -> None:
    volumes = shared / "volumes"
    assert choose_window(read_volume(volumes / "ts_ct_abdomen_3mm" / "image.nii.gz")) == PRESETS["abdomen"]
    for name in ("colin27_t1_aal", "tptbox_mri_spine_1p5mm", "vxm_brain_t1_fs"):
        window = choose_window(read_volume(volumes / name / "image.nii.gz"))
        assert window not in PRESETS.values()
        assert window.low >= 0


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, ">i2", np.float16, np.float32, np.float64, bool]
)
def test_frames_are_windowed_and_normalised(dtype: object) -> None:
    stack = np.zeros((3, 4, 6), dtype)
    stack[1] = 1
    frames = Frames(stack[::-1], Window(0.5, 2), 8)
    assert len(frames) == 3
    frame = frames[1]
    assert frame.shape == (3, 8, 8)
    assert frame.dtype == torch.float32
    torch.testing.assert_close(frame[:, 2, 5], (torch.tensor(0.75) - MEAN) / STD)
    torch.testing.assert_close(frames[0][:, 0, 0], (torch.tensor(0.25) - MEAN) / STD)


def test_frames_cut_off_and_survive_non_finite_values() -> None:
    stack = np.array([[[-500.0, 500, np.nan, np.inf, -np.inf, 1e300]]])
    frames = Frames(stack.repeat(6, axis=1), Window(0, 100), 6)
    shown = frames[0] * STD.view(3, 1, 1) + MEAN.view(3, 1, 1)
    torch.testing.assert_close(shown[0, 0], torch.tensor([0.0, 1, 0, 0, 0, 1]))
    torch.testing.assert_close(shown[0], shown[2])


def test_frames_are_resized_with_antialiasing() -> None:
    checkered = np.indices((64, 64)).sum(axis=0)[None] % 2
    shown = Frames(checkered, Window(0.5, 1), 16)[0][0] * STD[0] + MEAN[0]
    torch.testing.assert_close(shown[4:12, 4:12], torch.full((8, 8), 0.5), atol=0.02, rtol=0)


def test_frames_are_a_lazy_sequence() -> None:
    stack = np.arange(5 * 4 * 4).reshape(5, 4, 4)
    frames = Frames(stack, Window(40, 80), 4)
    assert np.shares_memory(frames.stack, stack)
    assert len(list(frames)) == 5
    torch.testing.assert_close(frames[-1], frames[4])
    torch.testing.assert_close(frames[2:4][1], frames[3])
    with pytest.raises(IndexError):
        frames[5]


def test_the_source_of_a_frame_says_what_it_depends_on():
    stack = np.arange(3 * 6 * 5, dtype=np.int16).reshape(3, 6, 5)
    stack[2] = stack[0]
    sources = [Frames(stack, Window(40, 80), 8).source(index) for index in range(3)]
    assert sources[0] == sources[2] != sources[1]
    others = [
        Frames(stack, Window(40, 60), 8),
        Frames(stack, Window(40, 80), 16),
        Frames(stack.swapaxes(1, 2), Window(40, 80), 8),
    ]
    assert all(frames.source(0) != sources[0] for frames in others)


def test_more_contrast_is_a_narrower_window():
    window = Window(40, 400).with_contrast(1.25)
    assert (window.low, window.high) == (-120, 200)
    assert Window(40, 400).with_contrast(1.0) == Window(40, 400)
