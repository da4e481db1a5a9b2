"""Figures as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmsam2.files import write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """One line per row, all of one dataclass and at least one; its fields' names come first. Written in one piece."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(rows[0])])
    writer.writeheader()
    writer.writerows({key: _rounded(value) for key, value in asdict(row).items()} for row in rows)
    write_whole(path, lambda stream: stream.write(text.getvalue().encode()))


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
