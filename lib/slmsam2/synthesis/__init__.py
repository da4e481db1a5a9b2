"""Synthetic labelled volumes to pre-train on: shapes and contrasts varied far beyond reality."""

from slmsam2.synthesis.anatomy import AnatomySettings
from slmsam2.synthesis.clips import Clip, synthetic_clips

__all__ = ["AnatomySettings", "Clip", "synthetic_clips"]
