"""The learning rate over a run."""

from __future__ import annotations

from omegaconf import DictConfig


def learning_rate(config: DictConfig, step: int, steps: int) -> float:
    """Linear warm-up, a plateau, and a linear fall to the final rate over the last part of the steps.

    Args:
        config: with ``learning_rate``, ``final_learning_rate``, ``warmup`` (steps) and ``cooldown`` (share of them).
        step: number of the step, from 0, of ``steps``.
    """
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    left = (steps - step) / max(config.cooldown * steps, 1)
    low, high = config.final_learning_rate, config.learning_rate
    return float(warm * (low + (high - low) * min(1.0, left)))
