"""Views of real volumes: what inference sees, distorted alike in image and mask; clips through them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmsam2.engine.regions import region_around
from slmsam2.normalisation import IMAGENET_MEAN, IMAGENET_STD
from slmsam2.training.labelled import Case, Structure, Submission, known_slices
from slmsam2.training.lessons import ClipSettings, draw_route
from slmsam2.training.prompts import PromptSettings
from slmsam2.training.views import PLAIN, ROOM, Distortion, DistortionSettings, View, make_view
from slmsam2.volume import Frames, Volume, choose_window

pytestmark = pytest.mark.unit

SIZE = 64
CLIPS = ClipSettings(6, 1, 2, 0.3, 0.5, PromptSettings(), DistortionSettings())


def ball(slices=40, centre=(20, 24, 20), radius=8):
    """Volume, label (I, J, K) and case of a bright ball, sliced along k."""
    grid = np.indices((48, 44, slices)).T - centre
    distance = np.linalg.norm(grid, axis=-1).T
    label = (distance <= radius).astype(np.uint8)
    noise = np.random.default_rng(0).normal(100, 5, label.shape)
    image = Volume((noise + 200 * label).astype(np.float32), np.eye(4))
    # as in SliceView of an identity affine: slices ascend along k
    areas = np.count_nonzero(label, axis=(0, 1))
    structure = Structure("ball", 1, 2, areas, known_slices(areas))
    case = Case(Submission("image", Path("image"), Path("label")), "digest", {"ball": structure})
    return image, label, case, structure


def view_of(distortion, seed=0, margin=0.75, **options):
    image, label, case, structure = ball(**options)
    return make_view(
        case,
        structure,
        (image, label),
        window=choose_window(image, label == 1),
        image_size=SIZE,
        margin=margin,
        distortion=distortion,
        generator=torch.Generator().manual_seed(seed),
    )


def test_a_plain_view_is_what_inference_shows():
    image, label, _, _ = ball()
    view = view_of(PLAIN)
    stack, mask = (a.transpose(2, 1, 0)[:, ::-1, ::-1] for a in (image.array, label))
    region = region_around([mask[20] > 0], (1.0, 1.0), 0.75)
    frames = Frames(region.cut(stack), choose_window(image, label > 0), SIZE)
    assert len(view) == 17 + 2 * ROOM
    for index in (0, 18, 36):
        torch.testing.assert_close(view[index], frames[index + 12 - ROOM])


def test_image_and_mask_are_distorted_alike():
    drawn = [Distortion.draw(DistortionSettings(), torch.Generator().manual_seed(seed)) for seed in range(6)]
    assert len({round(float(d.matrix[0, 0]), 3) for d in drawn}) == 6
    for distortion in drawn:
        view = view_of(distortion)
        middle = len(view) // 2
        mask = view.masks([0], [middle])[0, 0]
        frame = view[middle][0]
        assert frame[mask].mean() > frame[~mask].mean() + 1
        bright = frame > (frame.max() + frame.min()) / 2
        overlap = 2 * (bright & mask).sum() / (bright.sum() + mask.sum())
        assert overlap > 0.9


def test_a_tiny_structure_is_not_lost():
    view = view_of(PLAIN, radius=1, margin=None)
    middle = len(view) // 2
    assert view.masks([0], [middle]).any()


def test_whole_slices_without_a_margin():
    assert view_of(PLAIN, margin=None).labels.shape[2:] == (44, 48)


def long_rod(slices=300):
    """Image, label, case and structure of a rod through all slices, drifting far to one side."""
    image, label, case, structure = ball(slices=slices, centre=(20, 24, 100))
    label[:] = 0
    for k in range(slices):
        left = 2 + 30 * k // slices
        label[left : left + 6, 10:16, k] = 1
    areas = np.count_nonzero(label, axis=(0, 1))
    return image, label, case, replace(structure, areas=areas, known=known_slices(areas))


def look_at(rod, seed, distortion=PLAIN):
    image, label, case, structure = rod
    return make_view(
        case,
        structure,
        (image, label),
        window=choose_window(image, label == 1),
        image_size=SIZE,
        margin=0.75,
        distortion=distortion,
        generator=torch.Generator().manual_seed(seed),
    )


def test_a_long_structure_is_shown_in_parts():
    assert {len(look_at(long_rod(), seed)) for seed in range(20)} == {64}


@pytest.mark.parametrize("distortion", [PLAIN, replace(PLAIN, level=0.01)], ids=["plain", "distorted"])
def test_each_part_shows_a_slice_that_is_learnt_from(distortion):
    image, label, case, structure = long_rod()
    known = structure.known.copy()
    known[100:200] = False  # held back
    rod = image, label, case, replace(structure, known=known)
    for seed in range(40):
        view = look_at(rod, seed, distortion)
        route = draw_route(view, CLIPS, torch.Generator().manual_seed(seed))
        assert view.present[0, route[0]]
        assert view.known[0, route[0]]


def routes(view, count=60, **changes):
    generator = torch.Generator().manual_seed(3)
    return [draw_route(view, replace(CLIPS, **changes), generator) for _ in range(count)]


def test_clips_go_both_ways_from_slices_with_the_structure():
    view = view_of(PLAIN)
    drawn = routes(view)
    steps = {route[1] - route[0] for route in drawn}
    assert steps == {-1, 1}
    assert all(view.present[0, route[0]] for route in drawn)
    assert all(len(route) == 6 for route in drawn if 6 <= route[0] < len(view) - 6)


def test_clips_run_past_the_ends():
    view = view_of(PLAIN)
    past = [not view.present[0, route[-1]] for route in routes(view, past_end=1.0)]
    assert np.mean(past) > 0.7


def test_clips_of_single_known_slices_reach_the_next_one():
    view = view_of(PLAIN)
    view.known[:] = False
    view.known[0, [12, 21]] = True
    drawn = routes(view, past_end=0.0)
    assert {route[0] for route in drawn} == {12, 21}
    assert any(21 in route[1:] for route in drawn if route[0] == 12)


def test_a_volume_of_one_slice_gives_a_clip_of_one():
    labels = np.zeros((1, 1, 20, 20), bool)
    labels[..., 5:12, 5:12] = True
    stack = np.random.default_rng(0).normal(size=(1, 20, 20))
    view = View(stack, labels, np.ones((1, 1), bool), choose_window(Volume(stack, np.eye(4))), SIZE, PLAIN)
    assert routes(view, count=3) == [[0]] * 3


def shown(frame):
    """A normalised frame as 0 to 1, (N, N)."""
    return frame[0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]


def test_intensities_change_and_masks_do_not():
    plain = view_of(replace(PLAIN))
    changed = view_of(replace(PLAIN, gamma=2.0, invert=True))
    middle = len(plain) // 2
    expected = (1 - shown(plain[middle])) ** 2
    torch.testing.assert_close(shown(changed[middle]), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        changed[middle][1] * IMAGENET_STD[1] + IMAGENET_MEAN[1], shown(changed[middle])
    )
    assert torch.equal(changed.masks([0], [middle]), plain.masks([0], [middle]))


def test_noise_is_the_same_at_every_look_and_differs_between_slices():
    plain, noisy = view_of(replace(PLAIN)), view_of(replace(PLAIN, noise=0.05, seed=4))
    added = [shown(noisy[s]) - shown(plain[s]) for s in (15, 16)]
    assert torch.equal(noisy[15], noisy[15])
    free = ((torch.stack([shown(plain[15]), shown(plain[16])]) - 0.5).abs() < 0.3).all(
        dim=0
    )  # nothing is cut off
    assert added[0][free].std() == pytest.approx(0.05, rel=0.2)
    assert np.corrcoef(added[0][free], added[1][free])[0, 1] < 0.3


def test_intensities_are_drawn_within_their_settings():
    settings = DistortionSettings(gamma=0.4, noise=0.05, invert=0.25)
    drawn = [Distortion.draw(settings, torch.Generator().manual_seed(seed)) for seed in range(200)]
    gammas = np.log([one.gamma for one in drawn])
    assert -0.4 <= gammas.min() < -0.3
    assert 0.3 < gammas.max() <= 0.4
    assert 0 <= min(one.noise for one in drawn) < 0.01
    assert 0.04 < max(one.noise for one in drawn) <= 0.05
    assert np.mean([one.invert for one in drawn]) == pytest.approx(0.25, abs=0.1)
