"""Which clips are drawn, in the published proportions; and how they are distorted."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paper_data import make_volume, write_layout
from slmsam2.errors import ConfigurationError
from slmsam2.paper.clips import DrawSettings, Jitter, VolumeClips, draw_ids, draw_route, jittered
from slmsam2.paper.configuration import Plan, read_configuration
from slmsam2.paper.layout import Entry, entries
from slmsam2.paper.volumes import BYTES, SliceStack, StackReader
from slmsam2.training.prompts import PromptSettings, draw_plan
from slmsam2.volume import Volume

pytestmark = pytest.mark.unit

PLAIN = DrawSettings(
    slices=8,
    objects=3,
    multiplier=1,
    reverse=0.0,
    flip=0.0,
    degrees=0.0,
    shear=0.0,
    clip_jitter=Jitter(),
    slice_jitter=Jitter(),
    prompts=PromptSettings(),
)


def settings(**changes):
    return DrawSettings(**(vars(PLAIN) | changes))


def stack_of(labels, image=None):
    image = np.zeros(labels.shape, np.uint8) if image is None else image
    return SliceStack(
        name="a",
        image=image,
        labels=labels,
        masked=np.ones(len(labels), bool),
        window=BYTES,
        slices=[f"{s:05d}" for s in range(len(labels))],
        grid=Volume(image.transpose(2, 1, 0), np.eye(4)),
        axis=2,
        pictures=True,
    )


def source(count=3, draw=PLAIN, per_step=1):
    """Of volumes that are told apart by their number of slices."""
    network = SimpleNamespace(image_size=64, device=torch.device("cpu"))
    return VolumeClips(
        [Entry(str(i), None, None) for i in range(count)],
        lambda entry: stack_of(*reversed(make_volume(int(entry.name)))),
        network,
        draw,
        per_step=per_step,
        seed=5,
    )


def test_prompts_are_drawn_in_the_published_proportions():
    """Half of the clips from a mask, a quarter each from a point and a box with 7 corrections, on slice 0 only."""
    plan = Plan.read(read_configuration("slm_sam2_hiera_t_finetune", []))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_plan(plan.draw.prompts, 8, generator) for _ in range(4000)]
    share = Counter(one.kind for one in drawn)
    assert share["mask"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert share["point"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert share["box"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert all(one.clicks == ({} if one.kind == "mask" else {0: 7}) for one in drawn)
    assert all(one.from_reference == 0.1 for one in drawn)


def test_every_start_with_a_structure_is_as_likely():
    """8 slices in a row that begin where something is drawn; on 3 to 15 of 20 slices: from 3 to 12."""
    labels = np.zeros((20, 4, 4), np.uint8)
    labels[3:16] = 1
    generator = torch.Generator().manual_seed(0)
    routes = [draw_route(stack_of(labels), PLAIN, generator) for _ in range(5000)]
    assert all(np.diff(route).tolist() == [1] * 7 for route in routes)
    share = Counter(route[0] for route in routes)
    assert sorted(share) == list(range(3, 13))
    assert min(share.values()) > 400
    assert max(share.values()) < 600


def test_reversed_clips_when_wanted():
    labels = np.ones((12, 4, 4), np.uint8)
    generator = torch.Generator().manual_seed(0)
    ways = [np.diff(draw_route(stack_of(labels), settings(reverse=0.5), generator))[0] for _ in range(1000)]
    assert np.mean(np.array(ways) < 0) == pytest.approx(0.5, abs=0.06)


def test_short_volumes_and_late_structures_give_shorter_clips():
    generator = torch.Generator().manual_seed(0)
    short = stack_of(np.ones((5, 4, 4), np.uint8))
    assert draw_route(short, PLAIN, generator) == [0, 1, 2, 3, 4]
    late = np.zeros((20, 4, 4), np.uint8)
    late[18:] = 1
    assert draw_route(stack_of(late), PLAIN, generator)[0] in (18, 19)
    with pytest.raises(ConfigurationError, match="Nothing is drawn in the masks of 'a'"):
        draw_route(stack_of(np.zeros((9, 4, 4), np.uint8)), PLAIN, generator)


def test_up_to_three_objects_each_as_likely():
    labels = np.tile(np.arange(6, dtype=np.uint8), (9, 1, 1))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_ids(stack_of(labels), 0, 3, generator) for _ in range(3000)]
    assert all(len(set(one)) == 3 for one in drawn)
    share = Counter(i for one in drawn for i in one)
    assert sorted(share) == [1, 2, 3, 4, 5]
    assert all(abs(value / 3000 - 0.6) < 0.04 for value in share.values())


def test_each_volume_comes_as_often_and_in_another_order():
    clips = source(count=4, draw=settings(multiplier=2), per_step=2)
    names = [clips.entry(step, number).name for step in range(12) for number in range(2)]
    epochs = [names[i : i + 8] for i in range(0, 24, 8)]
    assert all(Counter(epoch) == dict.fromkeys("0123", 2) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_clip_depends_on_its_number_only():
    one, other = source(), source()
    other.draw(0, 0)
    first, again, another = one.draw(3, 0), other.draw(3, 0), other.draw(4, 0)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)
    assert first.generator.initial_seed() != another.generator.initial_seed()
    assert first.frames.shape == (1, 8, 3, 64, 64)
    assert first.masks.shape == (1, 2, 8, 64, 64)
    assert first.masks[0, :, 0].flatten(1).any(dim=1).all()
    two = source(per_step=2)  # how a step is shared out does not matter
    assert torch.equal(two.draw(1, 1).frames, first.frames)


def test_frames_and_masks_are_moved_together():
    """Where the image is bright the mask is, whatever was drawn; turns keep the shape of slices that are not square."""
    labels = np.zeros((8, 40, 80), np.uint8)
    labels[:, 15:25, 35:45] = 1
    turned = settings(degrees=45.0, shear=0.0, flip=0.5)
    clips = VolumeClips(
        [Entry("a", None, None)],
        lambda _: stack_of(labels, labels * 255),
        SimpleNamespace(image_size=64, device=torch.device("cpu")),
        turned,
        per_step=1,
        seed=0,
    )
    areas = []
    for step in range(6):
        clip = clips.draw(step, 0)
        bright = clip.frames[0, :, 0] > 1.0
        assert (bright == clip.masks[0, 0]).float().mean() > 0.98
        areas.append(int(clip.masks[0, 0, 0].sum()))
    assert max(areas) / min(areas) < 1.2
    assert len(set(areas)) > 1


def test_a_whole_clip_and_its_slices_change_brightness():
    grey = torch.full((50, 1, 4, 4), 0.5)
    generator = torch.Generator().manual_seed(0)
    same = jittered(grey, settings(clip_jitter=Jitter(0.1, 0.0)), generator)
    assert same.std() < 1e-6
    assert 0.45 <= same.mean() <= 0.55
    assert abs(float(same.mean()) - 0.5) > 1e-5
    each = jittered(grey, settings(slice_jitter=Jitter(0.1, 0.0)), generator).flatten(1)[:, 0]
    assert each.min() >= 0.45
    assert each.max() <= 0.55
    assert each.std() > 0.01


def test_volumes_are_read_once(tmp_path):
    data = write_layout(tmp_path, ["a", "b"])
    read = StackReader()
    (entry,) = entries(["a"], data / "images", data / "masks")
    assert read(entry) is read(entry)
