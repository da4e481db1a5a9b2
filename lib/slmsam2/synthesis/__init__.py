"""Synthetic labelled volumes to pre-train on: shapes and contrasts varied far beyond reality."""

from slmsam2.synthesis.anatomy import AnatomySettings
from slmsam2.synthesis.clips import Clip, joined, mapped_clips, synthetic_clips
from slmsam2.synthesis.label_maps import LabelMaps

__all__ = ["AnatomySettings", "Clip", "LabelMaps", "joined", "mapped_clips", "synthetic_clips"]
