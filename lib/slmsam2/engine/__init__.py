"""Propagation over slices: memory, stop rules, several painted slices, and the way back to a label volume."""

from slmsam2.engine.propagation import Propagation, Settings, Stop, propagate_frames

__all__ = ["Propagation", "Settings", "Stop", "propagate_frames"]
