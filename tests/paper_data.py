"""A small data set in the paper's layout, for several tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (10, 64, 72)  # slices, rows, columns


def make_volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A moving disc (object 1) with a dark core (object 2), and a look-alike that is none; uint8 (S, H, W) each."""
    rng = np.random.default_rng(seed)
    slices, rows, columns = SHAPE
    i, j = np.indices((rows, columns))
    (row, column), (down, right) = rng.uniform(26, 42, 2), rng.uniform(-0.6, 0.6, 2)
    look_alike = (i - rng.uniform(8, 56)) ** 2 + (j - rng.uniform(8, 64)) ** 2 <= 36
    images, labels = np.empty(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for s in range(slices):
        radius = 2 + 8 * np.sin(np.pi * (s + 0.5) / slices) ** 0.5
        distance = np.hypot(i - row - down * s, j - column - right * s)
        if 1 <= s < slices - 1:
            labels[s][distance <= radius] = 1
            labels[s][distance <= radius / 2] = 2
        bright = 60 * ((labels[s] == 1) | (look_alike & (labels[s] == 0))) + 10 * (labels[s] == 2)
        images[s] = (rng.normal(60, 12, (rows, columns)) + bright).clip(0, 255)
    return images, labels


def write_layout(folder: Path, names: list[str]) -> Path:
    """``images``, ``masks`` and lists: all but the last volume to train on, the last to test."""
    for seed, name in enumerate(names):
        images, labels = make_volume(seed)
        for kind, stack, ending in (("images", images, ".jpg"), ("masks", labels, ".png")):
            (folder / kind / name).mkdir(parents=True)
            for s, pixels in enumerate(stack):
                Image.fromarray(pixels).save(folder / kind / name / f"{s:05d}{ending}")
    (folder / "train.txt").write_text("\r\n".join(names[:-1]))
    (folder / "test.txt").write_text(f"\n{names[-1]}\n\n")
    return folder
