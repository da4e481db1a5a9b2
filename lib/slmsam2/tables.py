"""Figures as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """One line per row, all of one dataclass and at least one; its fields' names come first."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(rows[0])])
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in asdict(row).items()} for row in rows)


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
