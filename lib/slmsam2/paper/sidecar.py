"""What pictures cannot hold of a volume: its grid, its intensities, how its slices and masks were stored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.errors import VolumeError
from slmsam2.files import write_json
from slmsam2.volume import SliceView, Volume, Window

FOLDER = "geometry"  # beside the folder of images


@dataclass(frozen=True)
class Sidecar:
    """Facts of one volume, kept as JSON in ``geometry/<volume>.json``.

    Attributes:
        affine: (4, 4), voxel index of the array as stored -> position in mm, RAS+.
        shape: (I, J, K) of that array.
        axis: the stored axis that the slices are along.
        dtype: of the image's voxels.
        window: level and width of what 8-bit pictures show as 0 to 255.
        offset, scale: a voxel is ``offset + scale * pixel`` of the lossless pictures.
        modality: DICOM code, or None.
        label_dtype: of the label's voxels, or None without a label.
        names: structure -> value.
        slices: names of the slices without ending, in order.
        palette: colours of the mask pictures, (R, G, B) of 0 to 255 one after the other; None for grey masks.
    """

    affine: list[list[float]]
    shape: list[int]
    axis: int
    dtype: str
    window: list[float]
    offset: float = 0.0
    scale: float = 1.0
    modality: str | None = None
    label_dtype: str | None = None
    names: dict[str, int] = field(default_factory=dict)
    slices: list[str] = field(default_factory=list)
    palette: list[int] | None = None

    @property
    def view(self) -> SliceView:
        """The array as a stack of slices (S, H, W)."""
        i, j, k = self.shape
        return SliceView((i, j, k), np.array(self.affine), self.axis)

    @property
    def shown(self) -> Window:
        """The window."""
        return Window(*self.window)

    def volume(self, stack: np.ndarray) -> Volume:
        """A stack (S, H, W) on the grid of the volume.

        Raises:
            VolumeError: it has another size.
        """
        view = self.view
        if stack.shape != (view.num_slices, *view.slice_shape):
            raise VolumeError(
                f"There are pictures of {stack.shape[0]} slices of {stack.shape[2]} x {stack.shape[1]} pixels, but "
                f"the volume they come from has {view.num_slices} of {view.slice_shape[1]} x {view.slice_shape[0]}. "
                "Convert the volume again, or remove its file in the folder geometry."
            )
        return Volume(view.to_stored(stack), np.array(self.affine), self.modality)


def read_sidecar(images: Path, name: str) -> Sidecar | None:
    """The sidecar of volume ``name`` of a folder of images, in it or beside it; None when there is none.

    Raises:
        VolumeError: it is damaged.
    """
    path = sidecar_path(images, name)
    if path is None:
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return Sidecar(**content)
    except (ValueError, TypeError) as error:
        raise VolumeError(
            f"'{path}' is damaged ({error}). Remove it, or convert the volume again."
        ) from error


def sidecar_path(images: Path, name: str) -> Path | None:
    """The file of :func:`read_sidecar`; None when there is none."""
    candidates = (folder / FOLDER / f"{name}.json" for folder in (images, images.parent))
    return next((path for path in candidates if path.is_file()), None)


def write_sidecar(output: Path, name: str, sidecar: Sidecar) -> None:
    """Keep a sidecar in the folder ``geometry`` of ``output``."""
    write_json(output / FOLDER / f"{name}.json", asdict(sidecar))
