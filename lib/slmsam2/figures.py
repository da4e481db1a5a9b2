"""Contact sheets: what was painted, what came out and, where known, what it should be, on a row of slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from slmsam2.errors import ConfigurationError
from slmsam2.files import staged_path
from slmsam2.volume import SliceView, Volume

COLOURS = {"painted": "gold", "result": "darkorange", "reference": "deepskyblue"}
MARGIN = 0.15  # of the structure's size, shown around it
FORMATS = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class SheetRow:
    """One structure on a contact sheet; masks on the volume's own grid and axis order (I, J, K).

    Attributes:
        name: shown beside the row.
        result: the mask to show.
        painted: slice numbers (as stored, along the sheet's axis) the user painted; as many as fit are shown.
        reference: the mask it should be, if known.
    """

    name: str
    result: np.ndarray
    painted: Sequence[int]
    reference: np.ndarray | None = None


def contact_sheet(
    path: str | Path,
    volume: Volume,
    rows: Sequence[SheetRow],
    *,
    axis: int,
    window: Sequence[float],
    columns: int = 9,
) -> None:
    """Write a picture with one row of slices per structure, cut out around it.

    Args:
        path: .png, .pdf or .svg; its folder is made if need be.
        volume: the image.
        rows: the structures, from top to bottom.
        axis: stored axis along which the slices lie.
        window: lowest and highest intensity shown.
        columns: most slices in a row; the painted ones, the ends and evenly spaced ones between.

    Raises:
        ConfigurationError: the file's ending is not one of those above, or there is no row.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"A figure is written as {', '.join(FORMATS)}, not as '{path.name}'.")
    if not rows:
        raise ConfigurationError("A contact sheet needs at least one structure; nothing was painted.")
    view = SliceView(volume.shape, volume.affine, axis)
    figure = Figure(figsize=(1.7 * columns, 1.75 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, cells in zip(rows, axes, strict=True):
        _draw_row(row, cells, view, view.to_stack(volume.array), window)
    figure.legend(handles=_legend(rows), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path)


def choose_slices(present: np.ndarray, painted: Sequence[int], columns: int) -> list[int]:
    """At most `columns` slices to show, ascending: those painted first, the rest evenly spaced.

    Args:
        present: bool (S,), the slices with something to see; one more on either side is shown.
        painted: slices that are shown in any case; of more than there are columns, evenly spaced ones.
        columns: number of slices wanted.
    """
    seen = np.flatnonzero(present)
    if not seen.size:
        seen = np.asarray(sorted(painted) or [0])
    first, last = max(int(seen[0]) - 1, 0), min(int(seen[-1]) + 1, len(present) - 1)
    chosen = {round(s) for s in np.linspace(first, last, columns)}
    kept = painted
    if len(painted) > columns:
        kept = [painted[round(place)] for place in np.linspace(0, len(painted) - 1, columns)]
    for wanted in kept:
        if wanted not in chosen and len(chosen) >= columns:
            others = chosen - set(kept)
            chosen.remove(min(others - {first, last} or others, key=lambda other: abs(other - wanted)))
        chosen.add(wanted)
    return sorted(chosen)


def _draw_row(
    row: SheetRow, cells: Sequence[Axes], view: SliceView, stack: np.ndarray, window: Sequence[float]
) -> None:
    result = view.to_stack(row.result)
    reference = None if row.reference is None else view.to_stack(row.reference)
    shown = result.astype(bool) if reference is None else result.astype(bool) | reference.astype(bool)
    painted = [view.stack_index(stored) for stored in row.painted]
    slices = choose_slices(shown.any(axis=(1, 2)), painted, len(cells))
    box = _box(shown.any(axis=0))
    for cell in cells:
        cell.set(xticks=[], yticks=[], frame_on=False)
    cells[0].set_ylabel(row.name)
    for cell, index in zip(cells, slices, strict=False):
        cell.imshow(
            stack[index][box],
            cmap="gray",
            vmin=window[0],
            vmax=window[1],
            aspect=view.spacing[1] / view.spacing[2],
        )
        _draw_mask(cell, result[index][box], COLOURS["result"], fill=True)
        if reference is not None:
            _draw_mask(cell, reference[index][box], COLOURS["reference"], fill=False)
        _label(cell, view.stored_index(index), painted=index in painted)


def _draw_mask(cell: Axes, mask: np.ndarray, colour: str, *, fill: bool) -> None:
    if not mask.any():
        return
    inside = np.pad(mask.astype(float), 1)  # closes the outline where the mask touches the border
    grid = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
    if fill:
        cell.contourf(*grid, inside, levels=[0.5, 1.5], colors=[colour], alpha=0.25)
    cell.contour(*grid, inside, levels=[0.5], colors=[colour], linewidths=1.2)


def _label(cell: Axes, stored: int, *, painted: bool) -> None:
    colour = COLOURS["painted"] if painted else "black"
    cell.set_title(f"{stored} painted" if painted else str(stored), fontsize=8)
    if painted:
        cell.set_frame_on(True)
        for spine in cell.spines.values():
            spine.set(color=colour, linewidth=3)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns to show: the extent of `mask` (H, W) and a margin; everything when it is empty."""
    if not mask.any():
        return slice(None), slice(None)
    ranges = []
    for axis in (0, 1):
        seen = np.flatnonzero(mask.any(axis=1 - axis))
        margin = max(round(MARGIN * (seen[-1] - seen[0] + 1)), 4)
        ranges.append(slice(max(int(seen[0]) - margin, 0), int(seen[-1]) + margin + 1))
    return ranges[0], ranges[1]


def _legend(rows: Sequence[SheetRow]) -> list[Line2D]:
    shown = {"painted": "painted slice", "result": "result"}
    if any(row.reference is not None for row in rows):
        shown["reference"] = "reference"
    return [Line2D([], [], color=COLOURS[kind], linewidth=3, label=text) for kind, text in shown.items()]


def save_figure(figure: Figure, path: Path, dpi: int = 120) -> None:
    """Write a figure, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
