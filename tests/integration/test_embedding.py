"""One vector per volume: alike for volumes of a kind, far apart for others."""

import numpy as np
import pytest
import torch

from slmsam2.engine import load_model
from slmsam2.engine.embedding import SLICES, encoder_fingerprint, volume_vector
from slmsam2.errors import VolumeError
from slmsam2.volume import Volume, read_volume

pytestmark = pytest.mark.integration

SHAPE = (40, 36, 20)


def ball(seed, shape=SHAPE):
    """Noise with a bright ball."""
    grid = np.indices(shape).T / np.array(shape)
    inside = (np.linalg.norm(grid - 0.5, axis=-1) < 0.3).T
    noise = np.random.default_rng(seed).normal(0, 15, shape)
    return Volume((100 + 300 * inside + noise).astype(np.int16), np.diag([1, 1, 3, 1.0]))


def stripes(seed):
    """Noise with stripes along the rows."""
    wave = np.sin(np.arange(SHAPE[0]) * 1.5)[:, None, None] * np.ones(SHAPE)
    noise = np.random.default_rng(seed).normal(0, 15, SHAPE)
    return Volume((100 + 200 * wave + noise).astype(np.int16), np.diag([1, 1, 3, 1.0]))


@pytest.fixture(scope="module")
def embedded():
    return load_model("slm_sam2_nano")


def test_volumes_of_a_kind_lie_together(embedded):
    kinds = [[volume_vector(embedded, make(seed)) for seed in range(3)] for make in (ball, stripes)]
    within = [np.linalg.norm(kind[i] - kind[j]) for kind in kinds for i in range(3) for j in range(i)]
    between = [np.linalg.norm(a - b) for a in kinds[0] for b in kinds[1]]
    assert min(between) > 5 * max(within)


def test_real_volumes(embedded, shared):
    """The two brains are more alike than a brain and an abdomen or a spine."""
    brain, other, abdomen, spine = (
        volume_vector(embedded, read_volume(shared / "volumes" / name / "image.nii.gz"))
        for name in ("colin27_t1_aal", "vxm_brain_t1_fs", "ts_ct_abdomen_3mm", "tptbox_mri_spine_1p5mm")
    )
    for one in (brain, other):
        others = [np.linalg.norm(one - each) for each in (abdomen, spine)]
        assert np.linalg.norm(brain - other) < min(others)


def test_form(network):
    vector = volume_vector(network, ball(0))
    assert vector.dtype == np.float32
    assert vector.shape == (2 * network.hidden_dim,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(vector, volume_vector(network, ball(0)))


@pytest.mark.parametrize(("slices", "looked_at"), [(1, 1), (5, 5), (200, SLICES)])
def test_a_few_slices_are_looked_at_whatever_the_size(network, slices, looked_at):
    calls = []
    hook = network.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        vector = volume_vector(network, ball(0, (24, 24, slices)))
    finally:
        hook.remove()
    assert len(calls) == looked_at
    assert np.isfinite(vector).all()


def test_nothing_to_see(network):
    with pytest.raises(VolumeError):
        volume_vector(network, Volume(np.full(SHAPE, 3, np.int16), np.eye(4)))


def test_fingerprint_is_the_image_encoders(network):
    before = encoder_fingerprint(network)
    memory = next(network.memory_attention.parameters())
    encoder = next(network.image_encoder.parameters())
    with torch.no_grad():
        memory.add_(1)
        try:
            assert encoder_fingerprint(network) == before
            encoder.add_(1)
            assert encoder_fingerprint(network) != before
        finally:
            memory.sub_(1)
            encoder.sub_(1)
