"""Synthetic clips: seeded, with a connected structure that is there on slice 0 and ends now and then."""

import pytest
import torch
from scipy import ndimage

from slmsam2.synthesis import AnatomySettings, synthetic_clips
from slmsam2.synthesis.anatomy import label_volumes
from slmsam2.synthesis.clips import flood
from slmsam2.synthesis.shapes import branching_tube, cluster, sheet, superquadric

pytestmark = pytest.mark.unit


def draw(seed, **kwargs):
    return synthetic_clips(4, 6, 64, torch.Generator().manual_seed(seed), **kwargs)


def test_same_seed_same_clips():
    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(first.frames, again.frames)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.frames, other.frames)


def test_shapes_and_range():
    clip = draw(3, structures=2)
    assert clip.frames.shape == (4, 6, 3, 64, 64)
    assert clip.masks.shape == (4, 2, 6, 64, 64)
    assert clip.masks.dtype == torch.bool
    assert clip.masks[:, :, 0].flatten(2).any(dim=2).all()
    gray = clip.frames[:, :, 0] * 0.229 + 0.485
    assert -1e-4 <= gray.min() < 0.1
    assert 0.9 < gray.max() <= 1 + 1e-4


def test_structures_end_and_move():
    """Over many clips, some structures leave before the last slice, most change, few fill the slice."""
    masks = torch.cat([draw(seed).masks[:, 0] for seed in range(20)])
    area = masks.float().mean(dim=(2, 3))
    gone = (area[:, -1] == 0).float().mean()
    assert 0.05 < gone < 0.7
    assert (area[:, 0] != area[:, 1]).float().mean() > 0.8
    assert area[:, 0].max() < 0.5


def test_number_of_labels():
    assert AnatomySettings(tissues=3, objects=2).labels == 8


def test_flood_keeps_the_connected_part():
    region = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    region[0, 0, 5:20, 5:20] = True
    region[0, 0, 40:60, 40:60] = True
    seeds = torch.zeros_like(region)
    seeds[0, 0, 10, 10] = True
    kept = region & flood(region, seeds)
    assert kept.sum() == 15 * 15
    assert ndimage.label(kept[0, 0].numpy())[1] == 1


@pytest.mark.parametrize("size", [100, 191, 224, 256])
def test_flood_reaches_the_last_rows_and_columns_at_any_size(size):
    region = torch.zeros(1, 1, size, size, dtype=torch.bool)
    region[0, 0, -5:, -5:] = True
    region[0, 0, :20, :20] = True
    seeds = torch.zeros_like(region)
    seeds[0, 0, -1, -1] = True
    kept = region & flood(region, seeds)
    assert kept[0, 0, -5:, -5:].all()
    assert kept.sum() == 25


def points(slices=9, size=48):
    """A cube of positions, float32 (1, T, n, n, 3)."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (slices, size, size)), indexing="ij")
    return torch.stack([x, y, z], dim=-1)[None]


@pytest.mark.parametrize("shape", [superquadric, cluster, branching_tube, sheet])
def test_shapes_have_an_inside_and_an_outside(shape):
    inside = []
    for seed in range(20):
        field = shape(points(), torch.tensor([0.3]), torch.Generator().manual_seed(seed))
        assert field.shape == (1, 9, 48, 48)
        assert torch.isfinite(field).all()
        inside.append((field < 1).float().mean().item())
    assert 0 < max(inside) < 0.6
    assert sum(share > 0 for share in inside) > 15


def test_clusters_split_and_merge():
    """In some clusters the number of parts changes from slice to slice."""
    changing = 0
    for seed in range(20):
        field = cluster(points(17), torch.tensor([0.35]), torch.Generator().manual_seed(seed))
        parts = {ndimage.label(field[0, z].numpy() < 1)[1] for z in range(17)} - {0}
        changing += len(parts) > 1
    assert changing > 5


def test_slices_can_be_shaken():
    settings = AnatomySettings(motion=0.5)
    still, shaken = (
        label_volumes(4, 6, 64, torch.Generator().manual_seed(0), s)
        for s in (AnatomySettings(motion=0), settings)
    )
    assert not torch.equal(still, shaken)
    assert shaken.shape == still.shape == (4, 6, 64, 64)


def test_cut_structures_end_where_another_goes_on():
    """In slices so thin that hardly anything ends by its shape."""

    def ended(cut):
        settings = AnatomySettings(slice_step=(0.004, 0.01), object_radius=(0.3, 0.6), cut=cut)
        masks = torch.cat([draw(seed, settings=settings).masks[:, 0] for seed in range(10)])
        return float((~masks[:, -1].flatten(1).any(dim=1)).float().mean())

    assert ended(1.0) > ended(0.0) + 0.2
