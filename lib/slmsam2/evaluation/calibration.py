"""Fitting the confidence: facts about proposed slices of synthetic volumes, and the Dice coefficients they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Generator

from slmsam2.engine import Settings, Workspace
from slmsam2.engine.confidence import FACTS, Calibration, SliceFacts, slice_facts
from slmsam2.engine.settings import STOP_AFTER
from slmsam2.engine.structures import propagate_structures
from slmsam2.masks import largest_slice
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.normalisation import grey_of
from slmsam2.synthesis.anatomy import AnatomySettings
from slmsam2.synthesis.clips import synthetic_clips
from slmsam2.volume import Window

VALUE = 1
SLICES, SIZE = 36, 160
ROUNDS = 3  # one painted slice, then one more in each round
RIDGE = 1e-2  # pull of the coefficients towards zero, per mean squared coefficient
ANATOMY = AnatomySettings(object_radius=(0.08, 0.6), slice_step=(0.015, 0.14))


@dataclass(frozen=True, eq=False)
class Samples:
    """Slices with what is known of them, and how good they are.

    Attributes:
        facts: float (n, len(FACTS)).
        found: bool (n).
        dice: float (n), the true Dice coefficient; 1 where both are empty.
    """

    facts: np.ndarray
    found: np.ndarray
    dice: np.ndarray


def synthetic_samples(network: SLMSAM2, seed: int) -> Iterator[Samples]:
    """Samples of one synthetic volume after another, without end."""
    generator = Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    while True:
        clip = synthetic_clips(1, SLICES, SIZE, generator, settings=ANATOMY)
        stack = grey_of(clip.frames[0]).numpy()
        yield volume_samples(network, stack, clip.masks[0, 0].numpy(), random)


@torch.no_grad()
def volume_samples(
    network: SLMSAM2, stack: np.ndarray, reference: np.ndarray, random: np.random.Generator
) -> Samples:
    """Propagate from the largest slice, then from more and more slices as well.

    Args:
        stack: (S, H, W), 0 to 1.
        reference: bool (S, H, W).
    """
    workspace, parts = Workspace(), []
    given = [largest_slice(reference, 0)]
    for _ in range(ROUNDS):
        prompts = {VALUE: {index: reference[index] for index in given}}
        settings = Settings(stop_after=STOP_AFTER)
        (found,) = propagate_structures(
            network, stack, Window(0.5, 1.0), prompts, (1.0, 1.0, 1.0), settings, workspace=workspace
        )
        facts = slice_facts(found.propagation, VALUE, prompts[VALUE])
        masks = {int(s): found.slice_logits(int(s))[VALUE] > 0 for s in facts.slices}
        scores = np.array([dice(masks[int(s)], reference[s]) for s in facts.slices])
        parts.append(_without_painted(facts, scores))
        left = [int(s) for s in facts.slices if s not in given]
        if not left:
            break
        given.append(int(random.choice(left)))
    return joined(parts)


def _without_painted(facts: SliceFacts, scores: np.ndarray) -> Samples:
    free = ~facts.painted
    return Samples(facts.facts[free], facts.found[free], scores[free])


def joined(parts: list[Samples]) -> Samples:
    """All samples in one."""
    return Samples(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("facts", "found", "dice"))
    )


def fit(samples: Samples) -> Calibration:
    """Coefficients by maximum likelihood of a logistic model with the Dice coefficient as its share (Papke and
    Wooldridge, 1996), with a small ridge."""
    return Calibration(
        found=_fit(samples.facts[samples.found], samples.dice[samples.found]),
        empty=_fit(samples.facts[~samples.found], samples.dice[~samples.found]),
    )


def _fit(facts: np.ndarray, target: np.ndarray) -> tuple[float, ...]:
    inputs = np.column_stack([np.ones(len(facts)), facts])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logit = inputs @ weights
        value = np.logaddexp(0, logit) - target * logit
        gradient = inputs.T @ (1 / (1 + np.exp(-logit)) - target) / len(target)
        pull = RIDGE * weights * (np.arange(len(weights)) > 0) / len(FACTS)
        return float(value.mean() + (pull * weights).sum() / 2), gradient + pull

    found = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B")
    return tuple(float(round(weight, 4)) for weight in found.x)
