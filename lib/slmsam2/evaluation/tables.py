"""Scores in summary and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from slmsam2.evaluation.scores import Score
from slmsam2.figures import save_figure

STYLES = {
    "slm_sam2": ("SLM-SAM 2", "o", "darkorange"),
    "beside_kin": ("SLM-SAM 2, its like is done", "+", "firebrick"),
    "long_memory_only": ("long memory only", "s", "tab:green"),
    "tvl1_flow_in_extent": ("TV-L1 flow, told the extent", "x", "tab:blue"),
    "repeated_in_extent": ("repeated slice, told the extent", "|", "dimgrey"),
}


@dataclass(frozen=True)
class Summary:
    """All tasks of one prompt by one method.

    Attributes:
        dice, hd95: means; of the distance over the tasks where something was found.
        over: median of slices over-propagated per end.
        cpu_seconds_per_slice: median.
    """

    method: str
    prompt: str
    tasks: int
    dice: float
    hd95: float
    over: float
    cpu_seconds_per_slice: float


def summaries(scores: Sequence[Score]) -> list[Summary]:
    """One per method and prompt, in the order in which they first come."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for one in scores:
        groups.setdefault((one.prompt, one.method), []).append(one)
    return [_summary(prompt, method, group) for (prompt, method), group in groups.items()]


def _summary(prompt: str, method: str, group: list[Score]) -> Summary:
    distances = [s.hd95 for s in group if np.isfinite(s.hd95)]
    return Summary(
        method=method,
        prompt=prompt,
        tasks=len(group),
        dice=float(np.mean([s.dice for s in group])),
        hd95=float(np.mean(distances)) if distances else float("inf"),
        over=float(np.median([over for s in group for over in (s.over_low, s.over_high)])),
        cpu_seconds_per_slice=float(np.median([s.cpu_seconds_per_slice for s in group])),
    )


def write_figure(path: Path, scores: Sequence[Score]) -> None:
    """Dice of each structure by each method, a panel per prompt, best structures first."""
    prompts = list(dict.fromkeys(s.prompt for s in scores))
    names = list(dict.fromkeys(f"{s.volume}: {s.structure}" for s in scores))
    figure = Figure(figsize=(6 * len(prompts) + 3, 0.22 * len(names) + 1.5), layout="constrained")
    panels = figure.subplots(1, len(prompts), sharey=True, squeeze=False)[0]
    own = {
        f"{s.volume}: {s.structure}": s.dice
        for s in scores
        if s.method == scores[0].method and s.prompt == prompts[0]
    }
    names.sort(key=lambda name: own.get(name, 0.0))
    for panel, prompt in zip(panels, prompts, strict=True):
        for method in dict.fromkeys(s.method for s in scores):
            label, marker, colour = STYLES.get(method, (method, ".", None))
            chosen = [s for s in scores if s.method == method and s.prompt == prompt]
            places = [names.index(f"{s.volume}: {s.structure}") for s in chosen]
            panel.plot([s.dice for s in chosen], places, marker, color=colour, label=label)
        panel.set(title=f"painted: {prompt} slice", xlabel="Dice", xlim=(0, 1))
        panel.set_yticks(range(len(names)), names, fontsize=7)
        panel.grid(axis="x", alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    save_figure(figure, path)
