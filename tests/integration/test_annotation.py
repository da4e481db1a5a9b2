"""The simulated annotator, its tables, and the fit of the confidence."""

import numpy as np
import pytest

from slmsam2.engine import Workspace
from slmsam2.engine.confidence import FACTS
from slmsam2.evaluation.annotation_tables import (
    dice_by_corrections,
    rank_correlation,
    time_of_corrections,
    write_annotation_figure,
)
from slmsam2.evaluation.annotator import Round, SliceScore, annotate
from slmsam2.evaluation.calibration import Samples, fit, volume_samples
from slmsam2.evaluation.tasks import Task
from slmsam2.tables import write_rows

pytestmark = pytest.mark.integration


@pytest.fixture
def task(ball_volume):
    reference = np.asarray(ball_volume.array) > 350
    return Task(
        "made up", "ball", "largest", ball_volume, reference, 2, 8, reference.astype(int), {"ball": 1}
    )


@pytest.mark.parametrize("strategy", ["suggested", "random", "worst"])
def test_every_slice_corrected_is_right(network, task, strategy):
    done = [one for one, _ in annotate(task, network, strategy, 20, Workspace())]
    given = [one.slice for one in done]
    assert given[0] == 8
    assert len(set(given)) == len(given)
    assert [one.corrections for one in done] == list(range(len(done)))
    assert done[-1].dice > 0.99
    assert done[-1].dice > done[0].dice
    if strategy == "worst":
        assert done[-1].dice == 1


def test_the_truly_worst_slice_is_corrected_first(network, task):
    (first, scores), (second, _) = annotate(task, network, "worst", 1, Workspace())
    assert first.redone == first.slices
    assert second.slice != 8
    assert {one.slice for one in scores} == set(range(16)) - {8}
    assert all(0 <= one.confidence <= 1 and 0 <= one.dice <= 1 for one in scores)


def rounds_of(strategy, *dices, structure="a"):
    return [Round("v", structure, strategy, n, 2, n, d, 4, 8, 2.0 - n) for n, d in enumerate(dices)]


def test_tables(tmp_path):
    rounds = [
        *rounds_of("suggested", 0.5, 0.7),
        *rounds_of("suggested", 0.9, structure="b"),
        *rounds_of("random", 0.5, 0.6),
    ]
    np.testing.assert_allclose(dice_by_corrections(rounds, "suggested", 2), [[0.5, 0.7, 0.7], [0.9] * 3])
    assert time_of_corrections(rounds) == 0.5
    slices = [SliceScore("v", "a", "suggested", 0, s, 0.1 * s, d) for s, d in enumerate([0.1, 0.3, 0.2, 0.9])]
    assert rank_correlation(slices) == (pytest.approx(0.8), pytest.approx(0.8))
    write_rows(tmp_path / "rounds.csv", rounds)
    lines = (tmp_path / "rounds.csv").read_text().splitlines()
    assert lines[0].startswith("volume,structure,strategy,corrections,axis,slice,dice")
    assert len(lines) == 6
    write_annotation_figure(tmp_path / "figure.png", rounds, 2)
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_a_fit_finds_the_coefficients_it_was_drawn_from():
    random = np.random.default_rng(0)
    facts = random.normal(0, 1, (4000, len(FACTS)))
    wanted = random.normal(0, 0.7, 1 + len(FACTS))
    share = 1 / (1 + np.exp(-(wanted[0] + facts @ wanted[1:])))
    found = np.arange(4000) % 2 == 0
    dice = np.where(found, share, 1 - share)
    fitted = fit(Samples(facts, found, dice))
    np.testing.assert_allclose(fitted.found, wanted, atol=0.1)
    np.testing.assert_allclose(fitted.empty, -wanted, atol=0.1)


def test_samples_of_a_volume(network):
    stack = np.random.default_rng(0).uniform(0, 1, (6, 48, 48)).astype(np.float32)
    reference = np.zeros(stack.shape, bool)
    reference[:, 10:30, 12:30] = True
    samples = volume_samples(network, stack, reference, np.random.default_rng(1))
    # six slices, of which one, two, three are painted
    assert samples.facts.shape == (5 + 4 + 3, len(FACTS))
    assert ((samples.dice >= 0) & (samples.dice <= 1)).all()
    assert np.isfinite(samples.facts).all()
