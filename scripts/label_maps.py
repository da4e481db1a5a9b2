#!/usr/bin/env python
"""Prepare label maps to pre-train on: volumes in which as much as possible of a body is labelled.

    python scripts/label_maps.py heads/*.nii.gz --output runs/label_maps/head
    python scripts/pretrain.py --config refine_nano_maps --output runs/maps

NIfTI, NRRD, MetaImage. No image is needed: contrasts are random. With --images, what was labelled is shown as well.
Call it once for each kind of anatomy, with a folder of its own within one: as many clips are cut from each kind. Voxels
smaller than --least-spacing in two directions are thinned out.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.arguments import exit_status
from slmsam2.errors import VolumeError
from slmsam2.files import write_whole
from slmsam2.synthesis.label_maps import LEAST_PIXELS, can_be_placed
from slmsam2.volume import Volume, label_on_grid, read_label, read_volume

LEAST_EXTENT, LEAST_LONGEST = 3.0, 8.0  # mm, of a structure worth following
BORDER = 8  # voxels around everything that is labelled
LARGEST = 65535  # value
OUTLIERS = (0.001, 0.999)  # of an image's intensities


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", nargs="+", type=Path, help="label volumes")
    parser.add_argument("--images", nargs="+", type=Path, help="what was labelled, in the same order")
    parser.add_argument("--output", type=Path, required=True, help="folder for this kind of anatomy")
    parser.add_argument("--least-spacing", type=float, default=0.5, help="mm (%(default)s)", metavar="MM")
    parser.add_argument(
        "--highest", type=int, default=LARGEST, help="larger values are left out (%(default)s)"
    )
    parser.add_argument(
        "--magnify", type=float, default=1.0, help="voxels count as so many times as large (a mouse's: 10)"
    )
    args = parser.parse_args()
    args.images = args.images or [None] * len(args.labels)
    if len(args.images) != len(args.labels):
        parser.error(f"there are {len(args.labels)} label volumes, but {len(args.images)} images")
    for option in ("least_spacing", "magnify"):
        if not 0 < getattr(args, option) < math.inf:
            parser.error(f"--{option.replace('_', '-')} must be above 0")
    return exit_status("label_maps", lambda: prepare(args))


def prepare(args: argparse.Namespace) -> None:
    written: Counter[str] = Counter()
    for path, image in tqdm(list(zip(args.labels, args.images, strict=True)), unit="map"):
        facts = label_map(read_label(path), args, image and read_volume(image))
        name = path.name.split(".")[0]
        written[name] += 1
        number = f"_{written[name]}" if written[name] > 1 else ""
        write_whole(args.output / f"{name}{number}.npz", partial(np.savez_compressed, **facts))


def label_map(volume: Volume, args: argparse.Namespace, image: Volume | None = None) -> dict[str, np.ndarray]:
    """What is kept of a label volume, see :mod:`slmsam2.synthesis.label_maps`.

    Raises:
        VolumeError: nothing in it is large enough to be followed, it has values above 65535, or its image has no
            finite voxel.
        GridError: it lies elsewhere than its image.
    """
    if volume.array.max() > LARGEST:
        raise VolumeError(f"'{volume.path}' has values above {LARGEST}. Number its structures anew.")
    grid = image or volume
    spacing = np.array(grid.spacing) * args.magnify
    thinning = [max(round(args.least_spacing / each), 1) for each in spacing]
    thinned = tuple(slice(None, None, each) for each in thinning)
    labels = (label_on_grid(volume, image) if image else volume.array)[thinned].astype(np.uint16)
    labels[labels > args.highest] = 0
    kept: dict[str, np.ndarray] = {}
    if image is not None:
        kept["image"] = _scaled(image.array[thinned], image.path)
    else:
        for around in find_objects(labels > 0):
            labels = labels[tuple(slice(max(part.start - BORDER, 0), part.stop + BORDER) for part in around)]
    spacing = spacing * thinning
    structures, boxes = [], []
    for value, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        edges = np.array([(part.start, part.stop) for part in box])
        extent = (edges[:, 1] - edges[:, 0]) * spacing
        followed = extent.min() >= LEAST_EXTENT and extent.max() >= LEAST_LONGEST
        if followed and can_be_placed(labels[box] == value):
            structures.append(value)
            boxes.append(edges)
    if not structures:
        raise VolumeError(
            f"'{volume.path}' has no structure of {LEAST_EXTENT:g} mm in every direction and {LEAST_PIXELS} voxels on "
            "a slice. Leave it out, or magnify it."
        )
    return kept | {
        "labels": labels,
        "spacing": spacing,
        "structures": np.array(structures, np.int64),
        "boxes": np.array(boxes, np.int64).reshape(-1, 3, 2),
    }


def _scaled(image: np.ndarray, path: Path | None) -> np.ndarray:
    """An image as float16, all but its outliers from 0 to 1; voxels that are not finite are 0."""
    finite = np.isfinite(image)
    if not finite.any():
        raise VolumeError(f"'{path}' has no finite voxel. Leave it out, or give its labels without an image.")
    low, high = np.quantile(image[finite], OUTLIERS)
    scaled = (np.where(finite, image, low) - low) / max(high - low, 1e-6)
    return scaled.clip(-1, 2).astype(np.float16)


if __name__ == "__main__":
    sys.exit(main())
