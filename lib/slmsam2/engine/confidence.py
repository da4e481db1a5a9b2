"""How good each proposed slice is expected to be, and which one to correct next.

The expected Dice coefficient of a slice is ``1 / (1 + exp(-(b + w . x)))`` of a few facts ``x`` about it, with one set
of coefficients for slices on which the structure was found and one for those on which it was not. They are fitted on
synthetic volumes by ``scripts/calibrate_confidence.py`` and kept in ``model/confidence/<model>.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmsam2.engine.propagation import Propagation
from slmsam2.prompts import Prompt, is_empty

FACTS = (
    "presence",  # object score (logit), a tenth of it, within +-1
    "overlap",  # that the network expects of its mask, 0 to 1
    "sharpness",  # Dice coefficient that the mask's probabilities expect of it; of no mask, how sure that is
    "both",  # 1 between two prompts, where both directions went
    "agreement",  # Dice coefficient of the two directions' masks; 0 where only one went
    "distance",  # log(1 + slices to the nearest prompt with something on it)
    "overlap_before",  # Dice coefficient with the mask of the next slice towards that prompt
    "area_before",  # log of the areas of mask and that next slice's mask, within +-2
    "area",  # log of the areas of mask and prompt, within +-4
)
NOTHING = 1e-4  # area of an empty mask, as a share of the region
LIKENESS = 1.5  # how much likeness to the shape in other volumes counts, the other facts together being 1
# exponent of the confidence that gives the chance that a structure found beyond the prompts is there at all; the rest
# of the confidence is overlap
PRESENCE = 1 / 8
# area of a structure where it goes on unseen, as a share of its area on the nearest prompt: the median at 76 ends that
# came too early was 0.21
AHEAD = 0.2
# of what slices beyond the outermost prompts lack, the part that came right when one of them was corrected (measured on
# 32 structures): just beyond it, falling to none at so many times its distance from the prompt; and just before it
BEYOND, REACH, BETWEEN = 0.75, 1.5, 0.65


@dataclass(frozen=True, eq=False)
class SliceFacts:
    """What is known of the slices of one structure that the propagation visited.

    Attributes:
        slices: ascending slice numbers (n).
        found: bool (n), whether the structure was found there.
        facts: float (n, len(FACTS)).
        areas: float (n), pixels of the mask, as a share of the region; where nothing was found, what is at stake, see
            ``AHEAD``.
        distances: int (n), slices to the nearest prompt with something on it.
        painted: bool (n), given by the user as a mask.
        likeness: float (n), Dice coefficient with the shape in other volumes; None where that is not known.
        expected: float (n), Dice coefficient that is expected already; None where it is not.
    """

    slices: np.ndarray
    found: np.ndarray
    facts: np.ndarray
    areas: np.ndarray
    distances: np.ndarray
    painted: np.ndarray
    likeness: np.ndarray | None = None
    expected: np.ndarray | None = None


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the expected Dice coefficient, the constant first.

    Attributes:
        found, empty: 1 + len(FACTS) numbers each.
    """

    found: tuple[float, ...]
    empty: tuple[float, ...]

    def expected(self, facts: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Dice coefficients (n) to be expected of slices with these facts (n, len(FACTS)); found there, or not."""
        chosen = np.where(found[:, None], self.found, self.empty)
        expected: np.ndarray = 1 / (1 + np.exp(-(chosen[:, 0] + (chosen[:, 1:] * facts).sum(axis=1))))
        return expected


def read_calibration(settings: Mapping[str, Any] | None) -> Calibration | None:
    """The calibration in a model's settings; None when it has none for the facts that are looked at here."""
    if not settings or tuple(settings.get("facts", ())) != FACTS:
        return None
    return Calibration(tuple(settings["found"]), tuple(settings["empty"]))


def slice_facts(result: Propagation, value: int, prompts: Mapping[int, Prompt]) -> SliceFacts:
    """The facts of one structure's slices."""
    column = result.objects.index(value)
    slices = np.flatnonzero(result.visited[:, column].numpy())
    masks = (result.low_res[:, column] > 0).numpy()
    area = masks.mean(axis=(1, 2))
    present = np.array(sorted(index for index, prompt in prompts.items() if not is_empty(prompt)))
    nearest = present[np.abs(slices[:, None] - present).argmin(axis=1)]
    before = slices - np.sign(slices - nearest)
    stakes = np.where(area[slices] > 0, area[slices], AHEAD * area[nearest])
    facts = [_facts(result, column, *places, masks) for places in zip(slices, before, nearest, strict=True)]
    return SliceFacts(
        slices=slices,
        found=area[slices] > 0,
        facts=np.array(facts, np.float64).reshape(-1, len(FACTS)),
        areas=stakes,
        distances=np.abs(slices - nearest),
        painted=np.array([isinstance(prompts.get(int(s)), np.ndarray) for s in slices]),
        likeness=None if value not in result.likeness else result.likeness[value][slices],
        expected=None if value not in result.expected else result.expected[value][slices],
    )


def _facts(
    result: Propagation, column: int, index: int, before: int, nearest: int, masks: np.ndarray
) -> list[float]:
    probability = result.low_res[index, column].sigmoid().numpy()
    mask, last = masks[index], masks[before]
    agreement = float(result.agreement[index, column])
    area, area_before, area_prompt = (max(float(m.mean()), NOTHING) for m in (mask, last, masks[nearest]))
    if mask.any():
        sharpness = 2 * float(probability[mask].sum()) / float(probability.sum() + mask.sum())
    else:
        sharpness = 1.0 - float(probability.max())
    return [
        float(result.object_score[index, column].clamp(-10, 10)) / 10,
        float(result.iou[index, column].clamp(0, 1)),
        sharpness,
        float(not np.isnan(agreement)),
        0.0 if np.isnan(agreement) else agreement,
        float(np.log1p(abs(int(index) - int(nearest)))),
        2.0 * float((mask & last).sum()) / max(int(mask.sum()) + int(last.sum()), 1),
        float(np.clip(np.log(area / area_before), -2, 2)),
        float(np.clip(np.log(area / area_prompt), -4, 4)),
    ]


def expected_dice(facts: SliceFacts, calibration: Calibration | None) -> np.ndarray:
    """Confidence per visited slice, float (n) in 0..1; 1 where the user painted.

    Where it is known already, that.
    Where the structure was marked, it is no more than the overlap says that is expected of what was drawn.
    Without a calibration: where the structure was found, the probability that it is there times the overlap that the
    network expects; where not, the probability that it is absent. A shape that is known from other volumes counts
    LIKENESS, the rest 1.
    """
    if facts.expected is not None:
        return np.where(facts.painted, 1.0, facts.expected)
    if calibration is None:
        present = 1 / (1 + np.exp(-10 * facts.facts[:, 0]))
        sureness = np.where(facts.found, present * facts.facts[:, 1], 1 - present)
    else:
        sureness = calibration.expected(facts.facts, facts.found)
    if facts.likeness is not None:
        sureness = (sureness + LIKENESS * facts.likeness) / (1 + LIKENESS)
    overlap = facts.facts[:, 1]
    marked = (facts.distances == 0) & facts.found
    sureness = np.where(marked, np.minimum(sureness, 2 * overlap / (1 + overlap)), sureness)
    return np.where(facts.painted, 1.0, sureness)


def gains(facts: SliceFacts, confidence: np.ndarray) -> np.ndarray:
    """What correcting each slice should gain, float (n): the share of the structure that would come right.

    A slice lacks ``(1 - confidence) * area``. The corrected slice gains that, others a part of it, see :func:`_helped`.
    Beyond the outermost prompts a slice may also be past the end: correcting it then takes away all that was found
    there and further out. Confidence counts as the chance that it is not, times the overlap if so, see ``PRESENCE``.
    """
    presence, lacks, tails = np.ones(len(confidence)), 1 - confidence, np.zeros(len(confidence))
    for way in _ways_out(facts):
        way = way[facts.found[way]]
        presence[way] = np.minimum.accumulate(confidence[way] ** PRESENCE)
        lacks[way] = 1 - confidence[way] ** (1 - PRESENCE)
        tails[way] = facts.areas[way][::-1].cumsum()[::-1]
    gain = presence * (_helped(facts) * lacks * facts.areas).sum(axis=1) + (1 - presence) * tails
    gain[facts.painted] = 0
    return gain / max(facts.areas.sum(), NOTHING)


def _helped(facts: SliceFacts) -> np.ndarray:
    """Which part of what a slice (column) lacks comes right when another one (row) is corrected, float (n, n).

    Between two prompts, the part by which a slice comes nearer to one. Beyond the outermost prompts as measured, see
    ``BEYOND``: a slice near the prompt helps few others, so that it pays to go far.
    """
    apart = np.abs(facts.slices[:, None] - facts.slices[None, :])
    helped = np.clip(1 - apart / np.maximum(facts.distances, 1), 0, 1)
    for way in _ways_out(facts):
        others = facts.distances[way] / facts.distances[way][:, None]  # 1 for the corrected slice
        before, after = BETWEEN * others**2, BEYOND * (1 - (others - 1) / REACH)
        helped[np.ix_(way, way)] = np.where(others < 1, before, np.clip(after, 0, 1))
    np.fill_diagonal(helped, 1)
    return helped


def _ways_out(facts: SliceFacts) -> list[np.ndarray]:
    """The slices beyond the outermost prompts with something on them: positions in ``facts``, outwards, int (m),
    towards higher and towards lower slice numbers."""
    given = np.flatnonzero(facts.distances == 0)
    return [np.arange(given[-1] + 1, len(facts.slices)), np.arange(given[0])[::-1]]
