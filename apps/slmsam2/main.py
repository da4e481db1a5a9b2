"""MONAI Label's way in: makes the package importable and hands over the app class."""

import importlib.util
import sys
from pathlib import Path

_found = importlib.util.find_spec("slmsam2")
if _found is None or _found.origin is None:  # not installed, or only this folder's name on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lib"))

from slmsam2.server.app import SlmSam2App  # noqa: E402

__all__ = ["SlmSam2App"]
