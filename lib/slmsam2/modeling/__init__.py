"""The network: SLM-SAM 2 on top of the sam2 package's modules, its configurations and its weights."""

from slmsam2.modeling.build import build_model, checkpoint_path, confidence_path, load_config, model_directory
from slmsam2.modeling.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from slmsam2.modeling.inference import InferenceSettings
from slmsam2.modeling.moments import Moments
from slmsam2.modeling.network import SLMSAM2
from slmsam2.modeling.speed import QUALITY, SPEEDS

__all__ = [
    "QUALITY",
    "SLMSAM2",
    "SPEEDS",
    "Checkpoint",
    "InferenceSettings",
    "Moments",
    "build_model",
    "checkpoint_path",
    "confidence_path",
    "load_config",
    "model_directory",
    "read_checkpoint",
    "save_checkpoint",
]
