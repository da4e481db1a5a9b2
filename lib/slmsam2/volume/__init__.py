"""Volumes and labels from files: geometry, slice axis, intensities, network frames, and the way back."""

from slmsam2.volume.files import label_values, read_label, read_volume, write_label
from slmsam2.volume.frames import Frames
from slmsam2.volume.grid import default_axis, label_on_grid, painted_axis
from slmsam2.volume.intensity import PRESETS, Window, choose_window, parse_window
from slmsam2.volume.profile import Profile, whole_profile
from slmsam2.volume.slices import SliceView
from slmsam2.volume.volume import Volume

__all__ = [
    "PRESETS",
    "Frames",
    "Profile",
    "SliceView",
    "Volume",
    "Window",
    "choose_window",
    "default_axis",
    "label_on_grid",
    "label_values",
    "painted_axis",
    "parse_window",
    "read_label",
    "read_volume",
    "whole_profile",
    "write_label",
]
