"""A volume of a list, read: its slices, its masks, and the way back to its own grid."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmsam2.errors import VolumeError
from slmsam2.paper.layout import Entry
from slmsam2.paper.sidecar import Sidecar, read_sidecar
from slmsam2.volume import (
    Frames,
    SliceView,
    Volume,
    Window,
    choose_window,
    default_axis,
    label_on_grid,
    lies_on_voxels,
    painted_axis,
    read_label,
    read_volume,
)
from slmsam2.volume.pictures import by_slice, pictures_in, read_pictures
from slmsam2.volume.volume import LPS_TO_RAS

BYTES = Window(127.5, 255.0)  # how the paper's pictures are shown: 0 is black, 255 white
KEPT_BYTES = 4 * 1024**3  # of volumes, kept at a time


@dataclass(frozen=True, eq=False)
class SliceStack:
    """The slices of a volume.

    Attributes:
        name: as in the list.
        image: real numbers (S, H, W).
        labels: unsigned integers (S, H, W), 0 is background; None without masks.
        masked: bool (S,), slices that have a mask file.
        window: intensities shown as 0 to 1.
        slices: S names, of the picture files without ending.
        grid: geometry, with the stored axis the slices are along; its array is the image as stored.
        axis: that axis.
        pictures: whether it came as a folder of pictures.
        sidecar: what is known beside the pictures.
        exact_labels: whether the labels are those of the file, voxel by voxel, and not resampled onto the image's grid.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    masked: np.ndarray
    window: Window
    slices: list[str]
    grid: Volume
    axis: int
    pictures: bool
    sidecar: Sidecar | None = None
    exact_labels: bool = True

    @property
    def ids(self) -> list[int]:
        """The object ids in the masks, ascending."""
        return [] if self.labels is None else [int(one) for one in np.unique(self.labels) if one]

    @property
    def view(self) -> SliceView:
        """Between the stack and the array as stored."""
        return SliceView(self.grid.shape, self.grid.affine, self.axis)

    def index_of(self, number: int) -> int:
        """Place in the stack of a slice as users number it: pictures in their order, files along the stored axis."""
        return number if self.pictures else self.view.stack_index(number)

    def frames(self, image_size: int) -> Frames:
        """What a network with inputs of N x N pixels is shown."""
        return Frames(self.image, self.window, image_size)


def read_stack(entry: Entry, window: Window | None = None) -> SliceStack:
    """Read a volume and its masks.

    Args:
        window: intensities to show of an image that is not in 8-bit pictures; None: its sidecar's, else a fitting one.

    Raises:
        VolumeError, GridError: something is damaged, or the masks do not fit the image.
    """
    if entry.image.is_dir() and pictures_in(entry.image):
        return _read_pictures(entry, window)
    image = read_volume(entry.image)
    mask = None if entry.mask is None else read_label(entry.mask)
    label = None if mask is None else label_on_grid(mask, image)
    axis = default_axis(image) if label is None else painted_axis(label > 0, default_axis(image))
    sidecar = read_sidecar(entry.image.parent, entry.name)
    axis = axis if sidecar is None else sidecar.axis
    view = SliceView(image.shape, image.affine, axis)
    slices = sidecar.slices if sidecar is not None and len(sidecar.slices) == view.num_slices else []
    return SliceStack(
        name=entry.name,
        image=view.to_stack(image.array),
        labels=None if label is None else view.to_stack(label),
        masked=np.full(view.num_slices, label is not None),
        window=window or (sidecar.shown if sidecar else choose_window(image)),
        slices=slices or [f"{index:05d}" for index in range(view.num_slices)],
        grid=image,
        axis=axis,
        pictures=False,
        sidecar=sidecar,
        exact_labels=mask is None or lies_on_voxels(mask, image),
    )


def _read_pictures(entry: Entry, window: Window | None) -> SliceStack:
    files = pictures_in(entry.image)
    image = np.ascontiguousarray(read_pictures(files, as_label=False).transpose(2, 1, 0))
    sidecar = read_sidecar(entry.image.parent, entry.name)
    lossless = sidecar is not None and files[0].suffix.lower() == ".png"
    if sidecar is not None and lossless:
        image = (image * sidecar.scale + sidecar.offset).astype(sidecar.dtype)
    grid = sidecar.volume(image) if sidecar else Volume(image.transpose(2, 1, 0), LPS_TO_RAS)
    if image.dtype == np.uint8 and not lossless:
        shown = BYTES
    else:
        shown = window or (sidecar.shown if sidecar else choose_window(grid))
    labels, masked = _read_masks(entry, files, image)
    return SliceStack(
        name=entry.name,
        image=image,
        labels=labels,
        masked=masked,
        window=shown,
        slices=[file.stem for file in files],
        grid=grid,
        axis=sidecar.axis if sidecar else 2,
        pictures=True,
        sidecar=sidecar,
    )


def _read_masks(entry: Entry, images: list[Path], image: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Object ids (S, H, W) of the slices, and which slices have a mask; by name, else by order."""
    if entry.mask is None:
        return None, np.zeros(len(images), bool)
    if not entry.mask.is_dir():
        raise VolumeError(
            f"The images of '{entry.name}' are pictures, so a folder of mask pictures is needed."
        )
    files = pictures_in(entry.mask)
    matched = by_slice(files, images, entry.name)
    there = [file for file in matched if file is not None]
    masked = np.array([file is not None for file in matched])
    if not there:
        return None, masked
    masks = read_pictures(there, as_label=True).transpose(2, 1, 0)
    if masks.shape[1:] != image.shape[1:]:
        raise VolumeError(
            f"The masks of '{entry.name}' are {masks.shape[2]} x {masks.shape[1]} pixels, its images "
            f"{image.shape[2]} x {image.shape[1]}: both must have one size."
        )
    kind = np.min_scalar_type(max(int(masks.max()), 0))
    labels = np.zeros(image.shape, kind)
    labels[masked] = masks
    return labels, masked


class StackReader:
    """Reads volumes when they are wanted, and keeps the last ones within a memory budget."""

    def __init__(self, window: Window | None = None) -> None:
        self._window = window
        self._kept: OrderedDict[Entry, SliceStack] = OrderedDict()

    def __call__(self, entry: Entry) -> SliceStack:
        """The volume of an entry."""
        stack = self._kept.pop(entry, None) or read_stack(entry, self._window)
        self._kept[entry] = stack
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return stack


def _bytes(stack: SliceStack) -> int:
    return stack.image.nbytes + (0 if stack.labels is None else stack.labels.nbytes)
