"""The network that draws outlines from marks: what it sees, and its files."""

import pytest
import torch

from slmsam2.errors import CheckpointError
from slmsam2.modeling.checkpoint import write_content
from slmsam2.modeling.network import LOGIT_LIMIT
from slmsam2.modeling.outliner import (
    CHANNELS,
    SIDE,
    Hints,
    Outliner,
    read_outliner,
    save_outliner,
    seen_at_last,
    seen_with,
)

pytestmark = pytest.mark.unit

INSIDE, OUTSIDE, LIKE, BOX, PRIOR, GIVEN = range(2, CHANNELS)


@pytest.fixture
def images():
    """Two noisy slices, the left half of each bright."""
    noise = 0.02 * torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return noise + 0.4 + 0.4 * (torch.arange(SIDE) < SIDE // 2)


def points(*places):
    """The same points (x, y, inside) on both slices."""
    where = torch.tensor([[x, y] for x, y, _ in places]).view(1, -1, 2).float()
    which = torch.tensor([inside for *_, inside in places], dtype=torch.bool)
    return where.repeat(2, 1, 1), which.repeat(2, 1)


def test_clicks_are_seen_where_they_are(images):
    seen = seen_with(images, Hints(*points((20.5, 90.5, True), (100.5, 10.5, False))))
    assert seen.shape == (2, CHANNELS, SIDE, SIDE)
    for channel, (row, column) in ((INSIDE, (90, 20)), (OUTSIDE, (10, 100))):
        assert seen[0, channel].argmax() == row * SIDE + column
        assert seen[0, channel, row, column] == pytest.approx(1.5)
    assert seen[0, INSIDE, 10, 100] < 0.1


def test_what_looks_like_a_click_is_told(images):
    alike = seen_with(images, Hints(*points((20.5, 90.5, True), (100.5, 10.5, False))))[:, LIKE]
    assert (alike[:, :, : SIDE // 2 - 2] > 0.7).all()
    assert (alike[:, :, SIDE // 2 + 2 :] < 0.02).all()


def test_nothing_is_made_up(images):
    seen = seen_with(images, Hints(*points()))
    assert seen.isfinite().all()
    assert not seen[:, INSIDE:].any()


def test_a_box_and_a_mask_to_correct(images):
    box = torch.tensor([[10.0, 20.0, 30.0, 25.0]] * 2)
    prior = torch.full((2, SIDE, SIDE), -10.0)
    prior[:, 50:60, 70:90] = 10
    seen = seen_with(images, Hints(*points(), box=box, prior=prior))
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[20:25, 10:30] = True
    assert ((seen[1, BOX] == 1) == inside).all()
    assert ((seen[1, PRIOR] > 0.9) == (prior[0] > 0)).all()
    assert (seen[:, GIVEN] == 1).all()


def test_a_slice_is_drawn_alone_as_in_a_batch(images):
    network = Outliner().eval()
    hints = Hints(*points((20.5, 90.5, True)))
    both = network(seen_with(images, hints))
    alone = network(seen_with(images[1:], Hints(hints.points[1:], hints.inside[1:])))
    assert both.shape == (2, SIDE, SIDE)
    torch.testing.assert_close(alone[0], both[1], atol=1e-4, rtol=1e-4)


def test_the_first_click_draws_a_mask_that_all_correct(images):
    looks = []

    def network(seen):
        looks.append(seen)
        return torch.full((2, SIDE, SIDE), 99.0)

    one, both = points((20.5, 90.5, True)), points((20.5, 90.5, True), (60.5, 30.5, False))
    shown = seen_at_last(network, images, Hints(*both))
    assert len(looks) == 1
    torch.testing.assert_close(looks[0], seen_with(images, Hints(*one)))
    limited = torch.full((2, SIDE, SIDE), LOGIT_LIMIT)
    torch.testing.assert_close(shown, seen_with(images, Hints(*both, prior=limited)))


def test_a_box_is_looked_at_before_clicks_and_a_mask_with_them(images):
    box, prior = torch.tensor([[10.0, 20.0, 30.0, 25.0]] * 2), torch.full((2, SIDE, SIDE), -LOGIT_LIMIT)
    looks = []

    def network(seen):
        looks.append(seen)
        return torch.zeros(2, SIDE, SIDE)

    both = points((20.5, 90.5, True), (60.5, 30.5, False))
    for hints in (
        Hints(*both, prior=prior),
        Hints(*points(), box=box, prior=prior),
        Hints(*points((1, 1, True))),
    ):
        torch.testing.assert_close(seen_at_last(network, images, hints), seen_with(images, hints))
    assert not looks
    seen_at_last(network, images, Hints(*both, box=box, prior=prior))
    torch.testing.assert_close(looks[0], seen_with(images, Hints(*points(), box=box, prior=prior)))


def test_a_file_gives_the_network_back(images, tmp_path):
    network = Outliner().eval()
    path = tmp_path / "outliner.pt"
    save_outliner(path, network, "one", {"steps": 3})
    assert path.stat().st_size < 2e6
    again = read_outliner(path)
    assert again.info == {"version": "one", "trained": {"steps": 3}}
    assert not again.training
    seen = seen_with(images, Hints(*points((20.5, 90.5, True))))
    torch.testing.assert_close(again(seen), network(seen), atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("content", [{"model": {}}, {"format": 9}, {"format": 2, "outliner": {}}, [1]])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.pt"
    write_content(path, content)
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        read_outliner(path)
