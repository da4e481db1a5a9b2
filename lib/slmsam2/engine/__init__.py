"""Propagation over slices: memory, stop rules, several painted slices, and the way back to a label volume."""

from slmsam2.engine.propagation import Propagation, Settings, Stop, propagate_frames
from slmsam2.engine.volume import load_model, propagate_volume

__all__ = ["Propagation", "Settings", "Stop", "load_model", "propagate_frames", "propagate_volume"]
