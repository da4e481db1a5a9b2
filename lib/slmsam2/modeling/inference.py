"""How a network is used on volumes, as its configuration says under ``inference``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmsam2.errors import ConfigurationError


@dataclass(frozen=True)
class InferenceSettings:
    """What is done beside the network itself; without any, slices are looked at whole, and its masks stay as they are.

    Attributes:
        crop_margin: room on each side of what was painted in the square that is looked at, times its longer side; None:
            whole slices.
        contrast: how many times as much intensities within the window differ.
        smoothing: standard deviation of the Gaussian that smooths mask logits across slices, in slices; None: they are
            not smoothed.
        least_overlap: a mask that the network expects to overlap the structure by less is none (times what it expects
            of the slice it starts from: 1 for a painted one).
        appearance: whether masks are corrected by what the structure looks like on the given slices.
        outline_marks: whether clicks, strokes and boxes are for the network of their own (``outliner.pt``).
        interpolation: whether the shape between two given slices counts where nothing is found, masks too small for it
            are widened, and areas that fall end a structure.
    """

    crop_margin: float | None = None
    contrast: float = 1.0
    smoothing: float | None = None
    least_overlap: float = 0.0
    appearance: bool = False
    outline_marks: bool = False
    interpolation: bool = False

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> InferenceSettings:
        """Those of a configuration.

        Raises:
            ConfigurationError: it has settings that there are not.
        """
        unknown = sorted(set(map(str, settings)) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigurationError(
                f"There is no inference setting {', '.join(unknown)}. Known: {', '.join(cls.__dataclass_fields__)}."
            )
        return cls(**settings)
