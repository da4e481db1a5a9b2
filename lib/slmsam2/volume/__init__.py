"""Volumes and labels from files: geometry, slice axis, intensities, network frames, and the way back."""

from slmsam2.volume.exemplar import Exemplar, Sections, exemplar_of
from slmsam2.volume.files import (
    LARGEST_LABEL,
    label_values,
    read_grid,
    read_label,
    read_label_of,
    read_volume,
    write_label,
)
from slmsam2.volume.frames import Frames
from slmsam2.volume.grid import default_axis, label_on_grid, lies_on_voxels, painted_axis
from slmsam2.volume.intensity import PRESETS, Window, choose_window, parse_window
from slmsam2.volume.slices import SliceView
from slmsam2.volume.volume import Volume

__all__ = [
    "LARGEST_LABEL",
    "PRESETS",
    "Exemplar",
    "Frames",
    "Sections",
    "SliceView",
    "Volume",
    "Window",
    "choose_window",
    "default_axis",
    "exemplar_of",
    "label_on_grid",
    "label_values",
    "lies_on_voxels",
    "painted_axis",
    "parse_window",
    "read_grid",
    "read_label",
    "read_label_of",
    "read_volume",
    "write_label",
]
