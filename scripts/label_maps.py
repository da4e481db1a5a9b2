#!/usr/bin/env python
"""Prepare label maps to pre-train on: volumes in which as much as possible of a body is labelled.

    python scripts/label_maps.py heads/*.nii.gz --output runs/label_maps/head
    python scripts/pretrain.py --config refine_nano_maps --output runs/maps

NIfTI, NRRD, MetaImage. No image is needed: contrasts are random. Call it once for each kind of anatomy, with a folder
of its own within one: as many clips are cut from each kind. Voxels smaller than --least-spacing in two directions are
thinned out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

from slmsam2.errors import SlmSam2Error, VolumeError
from slmsam2.volume import Volume, read_label

LEAST_EXTENT, LEAST_LONGEST = 3.0, 8.0  # mm, of a structure worth following
BORDER = 8  # voxels around everything that is labelled


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", nargs="+", type=Path, help="label volumes")
    parser.add_argument("--output", type=Path, required=True, help="folder for this kind of anatomy")
    parser.add_argument("--least-spacing", type=float, default=0.5, help="mm (%(default)s)", metavar="MM")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    try:
        for path in tqdm(args.labels, unit="map"):
            facts = label_map(read_label(path), args.least_spacing)
            np.savez_compressed(args.output / f"{path.name.split('.')[0]}.npz", **facts)
    except (SlmSam2Error, OSError) as error:
        print(f"label_maps: {error}", file=sys.stderr)
        return 2
    return 0


def label_map(volume: Volume, least_spacing: float) -> dict[str, np.ndarray]:
    """What is kept of a label volume, see :mod:`slmsam2.synthesis.label_maps`.

    Raises:
        VolumeError: nothing in it is large enough to be followed, or it has values above 65535.
    """
    if volume.array.max() > np.iinfo(np.uint16).max:
        raise VolumeError(f"'{volume.path}' has values above 65535. Number its structures anew.")
    thinning = [max(round(least_spacing / each), 1) for each in volume.spacing]
    labels = volume.array[tuple(slice(None, None, each) for each in thinning)].astype(np.uint16)
    for around in find_objects(labels > 0):
        labels = labels[tuple(slice(max(part.start - BORDER, 0), part.stop + BORDER) for part in around)]
    spacing = np.array(volume.spacing) * thinning
    structures, boxes = [], []
    for value, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        edges = np.array([(part.start, part.stop) for part in box])
        extent = (edges[:, 1] - edges[:, 0]) * spacing
        if extent.min() >= LEAST_EXTENT and extent.max() >= LEAST_LONGEST:
            structures.append(value)
            boxes.append(edges)
    if not structures:
        raise VolumeError(f"'{volume.path}' has no structure of {LEAST_EXTENT:g} mm in every direction.")
    return {
        "labels": labels,
        "spacing": spacing,
        "structures": np.array(structures, np.int64),
        "boxes": np.array(boxes, np.int64).reshape(-1, 3, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
