"""What a network can do in general: propagations in synthetic volumes, always the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Generator

from slmsam2.engine.volume import propagate_volume
from slmsam2.masks import largest_slice, only_slice
from slmsam2.metrics import dice
from slmsam2.modeling import SLMSAM2
from slmsam2.normalisation import grey_of
from slmsam2.synthesis import synthetic_clips
from slmsam2.training.lessons import THIN_SLICES
from slmsam2.volume import Volume

SLICES, SIZE = 24, 128  # of a volume
FIRST = 7_000_000  # seed of the first volume
NAME = "synthetic volumes"


@dataclass(frozen=True)
class SyntheticTask:
    """One structure of a synthetic volume, from its largest slice."""

    number: int

    @property
    def name(self) -> str:
        """The same for all."""
        return NAME

    def volume(self) -> tuple[Volume, np.ndarray]:
        """The image (S, H, W), and the structure, bool (S, H, W)."""
        generator = Generator().manual_seed(FIRST + self.number)
        clip = synthetic_clips(1, SLICES, SIZE, generator, settings=THIN_SLICES)
        shown = grey_of(clip.frames[0])
        return Volume((1000 * shown).numpy().astype(np.float32), np.eye(4)), clip.masks[0, 0].numpy()


def synthetic_dice(task: SyntheticTask, network: SLMSAM2) -> float:
    """Dice of the propagation, as users get it, on the slices that were not painted."""
    image, reference = task.volume()
    painted = largest_slice(reference, 0)
    prompt = only_slice(reference, 0, painted).astype(np.uint8)
    array, _ = propagate_volume(image, prompt, model=network, axis=0)
    found, true = (np.delete(mask, painted, axis=0) for mask in (array > 0, reference))
    return dice(found, true)
