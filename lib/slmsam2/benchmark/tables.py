"""Costs as a table in Markdown and a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from slmsam2.benchmark.growth import Growth
from slmsam2.benchmark.runs import FIRST, Cost, GpuCost
from slmsam2.figures import save_figure


def markdown(costs: Sequence[Cost]) -> str:
    """One line per run; the ratio is to the first run of the first variant of the same image size."""
    if any(isinstance(c, GpuCost) for c in costs):
        columns = ["ms per slice", "ratio", "peak GPU memory, MiB", "share of peak", "agreement"]
    else:
        columns = ["CPU s per slice", "ratio", "peak memory, MiB", "agreement"]
    lines = [_line(["network", "image size", "run", *columns]), "|" + "---|" * (3 + len(columns))]
    for c in costs:
        run = c.run if c.structures == 1 else f"{c.run} ({c.structures})"
        if isinstance(c, GpuCost):
            time, share = f"{c.milliseconds:.1f}", [_figure(c.share_of_peak)]
        else:
            time, share = f"{c.cpu_seconds:.3f}", []
        figures = [time, f"{c.ratio:.2f}", f"{c.peak_mib:.0f}", *share, _figure(c.agreement)]
        lines.append(_line([c.variant, str(c.image_size or ""), run, *figures]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(value: float) -> str:
    """Nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.3f}"


def write_cost_figure(path: Path, costs: Sequence[Cost]) -> None:
    """Time per slice of every run, on a logarithmic axis."""
    on_gpu = any(isinstance(c, GpuCost) for c in costs)
    times = [c.milliseconds if isinstance(c, GpuCost) else c.cpu_seconds for c in costs]
    figure = Figure(figsize=(9, 0.28 * len(costs) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [f"{c.variant}{f', {c.image_size}' if c.image_size else ''}: {c.run}" for c in costs]
    colours = ["darkorange" if c.run == FIRST else "tab:blue" for c in costs]
    colours = [
        "dimgrey" if "sam2 package" in c.variant else one for c, one in zip(costs, colours, strict=True)
    ]
    axes.barh(range(len(costs)), times, color=colours)
    axes.set_yticks(range(len(costs)), names, fontsize=7)
    axes.set_ylim(len(costs) - 0.4, -0.6)  # the first on top
    axes.set(xscale="log", xlabel="milliseconds per slice" if on_gpu else "CPU seconds per slice")
    axes.grid(axis="x", alpha=0.3)
    save_figure(figure, path)


def write_growth_figure(path: Path, growth: Sequence[Growth]) -> None:
    """CPU seconds and memory by the number of slices."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    one = [g for g in growth if g.structures == 1]
    left.plot([g.slices for g in one], [g.cpu_seconds for g in one], "o-", color="darkorange")
    left.set(xlabel="slices", ylabel="CPU seconds")
    right.plot([g.slices for g in one], [g.peak_mib for g in one], "o-", color="darkorange")
    right.set(xlabel="slices", ylabel="peak memory, MiB")
    for axes in (left, right):
        axes.set_ylim(0, 1.1 * axes.dataLim.ymax)
        axes.grid(alpha=0.3)
    save_figure(figure, path)
