"""From stored intensities to the range that is shown to the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.masks import largest_slice
from slmsam2.volume.volume import Volume

# About this many voxels are looked at to choose a window.
_SAMPLE_SIZE = 2_000_000
_PERCENTILES = (0.5, 99.5)
# CT by its values, in HU: some air, and some soft tissue.
_AIR_HU, _LEAST_AIR = (-1100.0, -850.0), 0.005
_SOFT_TISSUE_HU, _LEAST_SOFT_TISSUE = (-200.0, 250.0), 0.05
# Median HU of what was painted: lung below, bone above (the abdomen window is nearly white there).
_LUNG_BELOW_HU, _BONE_ABOVE_HU = -400.0, 200.0


@dataclass(frozen=True)
class Window:
    """A range of intensities, by its middle and its extent, in the volume's own units (HU for CT).

    Raises:
        ConfigurationError: a value is not finite, or the width is not positive.
    """

    level: float
    width: float

    def __post_init__(self) -> None:
        for name, value in (("level", self.level), ("width", self.width)):
            object.__setattr__(self, name, float(value))  # equal windows are to be written alike, too
        if not (math.isfinite(self.level) and math.isfinite(self.width) and self.width > 0):
            raise ConfigurationError(
                f"The window {self.level}/{self.width} cannot be used: give level/width, the width "
                "above 0, such as 40/400."
            )

    @property
    def low(self) -> float:
        """What is shown as black, and everything below."""
        return self.level - self.width / 2

    @property
    def high(self) -> float:
        """What is shown as white, and everything above."""
        return self.level + self.width / 2

    def with_contrast(self, contrast: float) -> Window:
        """The window around the same level in which intensities differ ``contrast`` times as much."""
        return Window(self.level, self.width / contrast)


# CT windows in HU as radiologists commonly set them (Radiopaedia, "Windowing (CT)").
PRESETS: dict[str, Window] = {
    "abdomen": Window(40, 400),
    "lung": Window(-600, 1500),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "mediastinum": Window(50, 350),
}


def parse_window(window: str | Sequence[float] | None, preset: str | None) -> Window | None:
    """What the user asked for, if anything.

    Args:
        window: "level/width" or [level, width]; goes before the preset when both are given.
        preset: a name in PRESETS.
        None, an empty value and "auto" mean that nothing was asked for.

    Raises:
        ConfigurationError: neither a window nor a preset; the message lists what is allowed.
    """
    if window is not None and str(window) not in ("", "auto", "[]", "()"):
        try:
            parts = window.split("/") if isinstance(window, str) else list(window)
            level, width = (float(part) for part in parts)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"The window '{window}' is not understood: give level/width, such as 40/400."
            ) from error
        return Window(level, width)
    if not preset or preset == "auto":
        return None
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ConfigurationError(
            f"There is no preset '{preset}': choose {', '.join(PRESETS)}, or level/width."
        )
    return PRESETS[preset]


def choose_window(volume: Volume, painted: np.ndarray | None = None, axis: int | None = None) -> Window:
    """A window that suits the volume, and in a CT what was painted.

    A CT (by its modality, or by its values when that is unknown) gets the preset for the median HU of the
    painted voxels: lung, bone, else abdomen. With an axis those of the largest slice alone count, so that
    corrections on others do not change how a structure at the limit between two presets is shown. Anything
    else runs from the 0.5 to the 99.5 percentile of its finite voxels; of those that are not 0 when most are
    0. Large volumes are sampled.

    Args:
        volume: any image.
        painted: (I, J, K) bool, the voxels of interest; None when nothing was painted.
        axis: the stored axis, 0 to 2, along which slices were painted.

    Raises:
        VolumeError: no voxel is finite, or all are equal.
    """
    stride = max(1, math.ceil((volume.array.size / _SAMPLE_SIZE) ** (1 / 3)))
    sample = _finite(volume.array[::stride, ::stride, ::stride])
    if sample.size == 0 or sample.min() == sample.max():
        sample = _finite(volume.array)
    if sample.size == 0:
        raise VolumeError("The image has no finite voxel: it is empty or damaged. Export it again.")
    if sample.min() == sample.max():
        raise VolumeError(
            f"Every voxel of the image is {sample[0]:g}: there is nothing to see in it. Check its export."
        )
    if volume.modality == "CT" or (volume.modality is None and _looks_like_ct(sample)):
        return PRESETS[_ct_preset(volume, painted, axis)]
    return _percentile_window(sample)


def _finite(array: np.ndarray) -> np.ndarray:
    return array[np.isfinite(array)].astype(np.float64)


def _looks_like_ct(sample: np.ndarray) -> bool:
    def share(limits: tuple[float, float]) -> float:
        return float(np.mean((sample >= limits[0]) & (sample <= limits[1])))

    return share(_AIR_HU) >= _LEAST_AIR and share(_SOFT_TISSUE_HU) >= _LEAST_SOFT_TISSUE


def _ct_preset(volume: Volume, painted: np.ndarray | None, axis: int | None) -> str:
    if painted is None or not painted.any():
        return "abdomen"
    array = volume.array
    if axis is not None:
        largest = largest_slice(painted, axis)
        # views: ``take`` would first copy a volume that is stored the other way round
        array, painted = (np.moveaxis(part, axis, 0)[largest] for part in (array, painted))
    values = _finite(array[painted])
    if values.size == 0:
        return "abdomen"
    median = float(np.median(values))
    if median < _LUNG_BELOW_HU:
        return "lung"
    return "bone" if median > _BONE_ABOVE_HU else "abdomen"


def _percentile_window(sample: np.ndarray) -> Window:
    """The percentiles, of a sample with at least two values."""
    nonzero = sample[sample != 0]
    candidates = [sample] if 2 * nonzero.size >= sample.size else [nonzero, sample]
    for values in candidates:
        low, high = np.percentile(values, _PERCENTILES)
        if high > low:
            break
    else:  # a few voxels only differ from the rest
        low, high = sample.min(), sample.max()
    return Window(float((low + high) / 2), float(high - low))
