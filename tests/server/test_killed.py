"""A server that is killed a few times at random moments; ``scripts/kill_test.py`` does it more often."""

import pytest
from killed import kill_again_and_again

pytestmark = pytest.mark.server


def test_killed_at_random_moments(tmp_path):
    tally = kill_again_and_again(tmp_path, kills=4, seed=1, longest=5)
    assert tally.problems == []
    assert tally.counts["kills"] == 4
    assert tally.counts["labels"] > 10
    assert tally.counts["while inferring"] > 0
    assert tally.counts["while training"] > 0
