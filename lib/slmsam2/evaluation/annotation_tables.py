"""What simulated annotators reached, in figures and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from slmsam2.evaluation.annotator import Round, SliceScore
from slmsam2.figures import save_figure

STYLES = {
    "worst": ("the truly worst slice", "tab:green", "--"),
    "suggested-across": ("the suggested slice of another plane", "tab:blue", "-"),
    "across": ("the truly worst slice of another plane", "tab:blue", "--"),
    "suggested": ("the suggested slice", "darkorange", "-"),
    "random": ("a random slice", "dimgrey", ":"),
}


def dice_by_corrections(rounds: Sequence[Round], strategy: str, corrections: int) -> np.ndarray:
    """Dice of each structure after 0, 1, ... corrections, float (structures, 1 + corrections).

    Who had nothing left to correct keeps what there was.
    """
    reached: dict[tuple[str, str], list[float]] = {}
    for one in rounds:
        if one.strategy == strategy:
            reached.setdefault((one.volume, one.structure), []).append(one.dice)
    return np.array([[*done, *[done[-1]] * (corrections + 1 - len(done))] for done in reached.values()])


def rank_correlation(slices: Sequence[SliceScore]) -> tuple[float, float]:
    """Spearman's correlation of confidence and true Dice: over all slices, and the median over structures."""
    groups: dict[tuple[str, str], list[SliceScore]] = {}
    for one in slices:
        groups.setdefault((one.volume, one.structure), []).append(one)
    each = [_spearman(group) for group in groups.values() if len({one.dice for one in group}) > 1]
    return _spearman(slices), float(np.median(each))


def _spearman(slices: Sequence[SliceScore]) -> float:
    return float(spearmanr([one.confidence for one in slices], [one.dice for one in slices]).statistic)


def time_of_corrections(rounds: Sequence[Round]) -> float:
    """Median CPU time of a correction, as a share of the first proposal's on the same structure.

    Only the strategy that came first tells: the others find the first proposal already computed.
    """
    first_strategy = rounds[0].strategy
    first = {
        (r.volume, r.structure): r.cpu_seconds
        for r in rounds
        if r.strategy == first_strategy and not r.corrections
    }
    shares = [
        r.cpu_seconds / first[r.volume, r.structure]
        for r in rounds
        if r.strategy == first_strategy and r.corrections
    ]
    return float(np.median(shares))


def write_annotation_figure(path: Path, rounds: Sequence[Round], corrections: int) -> None:
    """Mean Dice after each number of corrections, with the middle half of the structures."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    lowest = 1.0
    for strategy in dict.fromkeys(one.strategy for one in rounds):
        label, colour, line = STYLES[strategy]
        reached = dice_by_corrections(rounds, strategy, corrections)
        lowest = min(lowest, reached.mean(axis=0).min())
        steps = np.arange(corrections + 1)
        axes.plot(steps, reached.mean(axis=0), line, color=colour, marker="o", label=label)
        if strategy == "suggested":
            axes.fill_between(
                steps, *np.percentile(reached, [25, 75], axis=0), color=colour, alpha=0.15, linewidth=0
            )
    axes.set(xlabel="corrected slices, beside the one painted first", ylabel="mean Dice")
    axes.set_ylim(max(np.floor(10 * lowest) / 10 - 0.1, 0), 1)
    axes.set_xticks(range(corrections + 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", title="corrected", fontsize=9)
    save_figure(figure, path)
