"""Settings for tests whose inputs hypothesis makes up: seeded, and as many examples as $SLMSAM2_EXAMPLES says."""

import os

from hypothesis import HealthCheck, settings


def made_up(examples: int) -> settings:
    """Settings of a test with so many examples where the environment does not say how many."""
    return settings(
        max_examples=int(os.environ.get("SLMSAM2_EXAMPLES", examples)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
