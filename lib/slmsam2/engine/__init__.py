"""Propagation over slices: memory, stop rules, several painted slices, and the way back to a label volume."""

from slmsam2.engine.cleaning import Cleaning
from slmsam2.engine.propagation import Propagation, propagate_frames
from slmsam2.engine.settings import Settings, Stop
from slmsam2.engine.volume import load_model, propagate_volume
from slmsam2.engine.workspace import Workspace

__all__ = [
    "Cleaning",
    "Propagation",
    "Settings",
    "Stop",
    "Workspace",
    "load_model",
    "propagate_frames",
    "propagate_volume",
]
