"""Between the paper's layout of pictures and volumes on their own grid."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from slmsam2.errors import VolumeError
from slmsam2.files import staged_path, write_json, write_whole
from slmsam2.paper.layout import IMAGES, LOSSLESS_IMAGES, MASKS, Entry, read_list
from slmsam2.paper.pictures import as_words, palette_of, shown_as_bytes, write_images, write_masks
from slmsam2.paper.sidecar import Sidecar, read_sidecar, write_sidecar
from slmsam2.paper.volumes import SliceStack, read_stack
from slmsam2.prompts import all_named, label_names
from slmsam2.volume import SliceView, Volume, Window, label_on_grid, read_label, read_volume
from slmsam2.volume.nifti import nifti_image
from slmsam2.volume.pictures import pictures_in

logger = logging.getLogger(__name__)

DATASTORE_FILE = "datastore_v2.json"  # MONAI Label's record of a folder of studies
FINAL = "final"


@dataclass(frozen=True)
class Converted:
    """What became of a volume.

    Attributes:
        name: of the volume.
        slices: their number.
        ids: object ids in its masks.
        exact: whether the image comes back bit for bit.
        exact_masks: whether the masks do.
        image_kept, label_kept: whether the file was there already, and was left as it is.
    """

    name: str
    slices: int
    ids: list[int] = field(default_factory=list)
    exact: bool = False
    exact_masks: bool = True
    image_kept: bool = False
    label_kept: bool = False


@dataclass(frozen=True)
class StoredLabel:
    """The final label of an image in a MONAI Label folder.

    Attributes:
        image_id, image_ext: the image's file name, without ending, and its ending.
        ext: the ending of the label's file.
        structures: name -> value.
        kept: whether it was there already.
    """

    image_id: str
    image_ext: str
    ext: str
    structures: Mapping[str, int]
    kept: bool


def to_layout(
    entry: Entry,
    output: Path,
    *,
    axis: int | None = None,
    window: Window | None = None,
    lossless: bool = False,
    names: Mapping[str, int] | None = None,
) -> Converted:
    """Write a volume as ``images/<name>/*.jpg`` and ``masks/<name>/*.png``, with its geometry beside them.

    Args:
        entry: files in any format that can be read, and folders of pictures.
        output: the folder with ``images`` and ``masks``.
        axis: stored axis to slice along; None: the sidecar's, else the one the label was painted along.
        window: intensities that become 0 to 255; None: the sidecar's, else chosen from the image.
        lossless: write ``images_png/<name>/*.png`` of 8 or 16 bits, too; also done where they are there already.
        names: structure -> value, to be kept.

    Raises:
        VolumeError, GridError: it cannot be read, or the label does not fit; or the pictures would be written over
            themselves.
    """
    if entry.image.resolve() == (output / IMAGES / entry.name).resolve():
        raise VolumeError(
            f"'{output}' is where the pictures of '{entry.name}' come from, and JPEG would lose: choose another folder."
        )
    stack = read_stack(entry, window)
    if axis is not None and axis != stack.axis:
        stack = _along(stack, axis)
    image, slices = np.asarray(stack.image), stack.slices
    shown = window or stack.window
    write_images(output / IMAGES / entry.name, slices, shown_as_bytes(image, shown), ".jpg")
    words, offset, scale = as_words(image)
    exact_pictures = output / LOSSLESS_IMAGES / entry.name
    lossless = (
        lossless or exact_pictures.is_dir()
    )  # going back, those of an earlier conversion would be taken
    if lossless:
        write_images(exact_pictures, slices, words, ".png")
    known = stack.sidecar
    if stack.labels is not None:
        masked = [name for name, there in zip(slices, stack.masked, strict=True) if there]
        palette = known.palette if known else None
        write_masks(output / MASKS / entry.name, masked, stack.labels[stack.masked], palette)
    sidecar = replace(
        _sidecar_of(stack, shown),
        offset=offset,
        scale=scale,
        label_dtype=_label_dtype(entry, known),
        names=dict(names or (known.names if known else {})),
        palette=known.palette if known else None,
    )
    write_sidecar(output, entry.name, sidecar)
    exact = lossless and scale == 1.0 and bool(np.isfinite(image).all())
    return Converted(entry.name, len(slices), stack.ids, exact, stack.exact_labels)


def _sidecar_of(stack: SliceStack, shown: Window) -> Sidecar:
    """The geometry, type and window of a volume."""
    known = stack.sidecar.modality if stack.sidecar else None
    return Sidecar(
        affine=stack.grid.affine.tolist(),
        shape=list(stack.grid.shape),
        axis=stack.axis,
        dtype=stack.image.dtype.str,
        window=[shown.level, shown.width],
        modality=stack.grid.modality or known,
        slices=stack.slices,
    )


def _along(stack: SliceStack, axis: int) -> SliceStack:
    """The same volume, sliced along another axis."""
    view = SliceView(stack.grid.shape, stack.grid.affine, axis)
    labels = None if stack.labels is None else view.to_stack(stack.view.to_stored(stack.labels))
    return SliceStack(
        name=stack.name,
        image=view.to_stack(stack.grid.array),
        labels=labels,
        masked=np.full(view.num_slices, labels is not None),
        window=stack.window,
        slices=[f"{index:05d}" for index in range(view.num_slices)],
        grid=stack.grid,
        axis=axis,
        pictures=stack.pictures,
        sidecar=stack.sidecar,
        exact_labels=stack.exact_labels,
    )


def _label_dtype(entry: Entry, known: Sidecar | None) -> str | None:
    """As stored in the label's file."""
    if entry.mask is None:
        return None
    if known is not None and known.label_dtype is not None:
        return known.label_dtype
    return _stored_dtype(entry.mask)


def _stored_dtype(path: Path) -> str:
    """Of a label's voxels on disk; label values are read into the smallest type that holds them."""
    if path.is_file() and path.name.lower().endswith((".nii", ".nii.gz")):
        import nibabel as nib

        return np.dtype(nib.load(path).get_data_dtype()).newbyteorder("=").str  # type: ignore[attr-defined]
    return read_label(path).array.dtype.str


def from_layout(entry: Entry, output: Path, image_path: Path, label_path: Path) -> Converted:
    """Write a volume of pictures as files on its own grid.

    The image comes from lossless pictures bit for bit; from JPEG as what the window shows of it, in the units it had.
    Files that are there already are never replaced: they may be what the pictures were made from.

    Args:
        entry: folders of pictures; the mask may be None.
        output: folder to keep the geometry in.
        image_path, label_path: .nii or .nii.gz to write, or files that are there.

    Raises:
        VolumeError: pictures and geometry do not fit each other; or another image or label is there. Then nothing was
            written.
    """
    stack = read_stack(entry)
    sidecar = stack.sidecar or _plain_sidecar(entry, stack)
    label = None if stack.labels is None else stack.view.to_stored(stack.labels)
    image_kept = image_path.exists()
    if image_kept:
        _check_same_grid(image_path, stack)
    label_kept = label is not None and label_path.exists()
    if label is not None and label_kept:
        _check_same_label(label_path, Volume(label, stack.grid.affine))
    exact = image_kept
    if not image_kept:
        image, exact = _intensities(entry, stack, sidecar)
        volume = sidecar.volume(image)
        _write_nifti(image_path, volume.array, volume)
    if label is not None and not label_kept:
        dtype = _type_for(label, sidecar.label_dtype)
        _write_nifti(label_path, label.astype(dtype, copy=False), stack.grid)
    write_sidecar(output, entry.name, sidecar)
    return Converted(
        entry.name, len(stack.slices), stack.ids, exact, image_kept=image_kept, label_kept=label_kept
    )


def _check_same_grid(path: Path, stack: SliceStack) -> None:
    """Refuse an image that is there and is not that of the pictures, as far as its grid tells."""
    there = read_volume(path)
    if there.shape != stack.grid.shape or not np.allclose(there.affine, stack.grid.affine, atol=1e-3):
        raise VolumeError(
            f"'{path}' is there already, on another grid than the pictures of '{stack.name}': choose another folder."
        )


def _check_same_label(path: Path, label: Volume) -> None:
    """Refuse to write a label where another one is."""
    if not np.array_equal(label_on_grid(read_label(path), label), label.array):
        raise VolumeError(
            f"'{path}' is there already and differs from the masks: move it away first, or choose another folder."
        )


def _type_for(label: np.ndarray, wanted: str | None) -> np.dtype:
    """The wanted type where it holds the label's values, else the label's own."""
    if wanted is None:
        return label.dtype
    dtype, highest = np.dtype(wanted), int(label.max())
    holds = dtype.kind == "f" or highest <= np.iinfo(dtype).max
    return dtype if holds else label.dtype


def _plain_sidecar(entry: Entry, stack: SliceStack) -> Sidecar:
    """Of a layout that was not made here: pictures without geometry."""
    masks = [] if entry.mask is None else pictures_in(entry.mask)
    return replace(_sidecar_of(stack, stack.window), palette=palette_of(masks[0]) if masks else None)


def _intensities(entry: Entry, stack: SliceStack, sidecar: Sidecar) -> tuple[np.ndarray, bool]:
    """The image (S, H, W) in its own units and type, and whether these are the very values it had."""
    lossless = pictures_in(entry.image)[0].suffix.lower() == ".png"
    if lossless or stack.sidecar is None:
        return stack.image, lossless and sidecar.scale == 1.0
    window = sidecar.shown
    values = stack.image / 255 * window.width + window.low
    dtype = np.dtype(sidecar.dtype)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(dtype), False


def _write_nifti(path: Path, array: np.ndarray, grid: Volume) -> None:
    """Write voxels (I, J, K) of any real type as .nii.gz, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    try:
        with staged_path(path, ".nii.gz") as temporary:
            nifti_image(array, grid).to_filename(temporary)
    except (OSError, ValueError) as error:
        raise VolumeError(f"'{path}' cannot be written: {error}.") from error


def label_names_of(datastore: Path) -> dict[str, dict[str, int]]:
    """Image id -> structure -> value, of the final labels of a MONAI Label folder; empty where nothing is noted."""
    found = {}
    for image_id, one in _record(datastore)["objects"].items():
        found[image_id] = label_names(one.get("labels", {}).get(FINAL, {}).get("info", {}))
    return found


def _record(datastore: Path) -> dict[str, Any]:
    """What MONAI Label has noted of a folder; of a new one nothing.

    Raises:
        VolumeError: the file is damaged.
    """
    path = datastore / DATASTORE_FILE
    try:
        kept = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise VolumeError(f"'{path}' is damaged: {error}.") from error
    return {"name": datastore.name, "description": "", "objects": {}} | kept


def note_in_datastore(datastore: Path, labels: Sequence[StoredLabel]) -> None:
    """Record final labels, as MONAI Label does, so that it knows the names of their structures.

    What is recorded of images, of other labels, and of labels that were left as they are, stays.

    Raises:
        VolumeError: the record that is there is damaged.
    """
    content = _record(datastore)
    for label in labels:
        known = content["objects"].setdefault(label.image_id, {"image": {"ext": label.image_ext, "info": {}}})
        info = {"label_info": [{"name": name, "idx": value} for name, value in label.structures.items()]}
        tags = known.setdefault("labels", {})
        if FINAL not in tags or not label.kept:
            tags[FINAL] = {"ext": label.ext, "info": info}
    write_json(datastore / DATASTORE_FILE, content)


def add_to_list(path: Path, names: list[str]) -> None:
    """Write a list of volumes; those that are in it already stay."""
    listed = read_list(path) if path.is_file() and path.read_text().strip() else []
    merged = [*listed, *(name for name in names if name not in listed)]
    write_whole(path, lambda stream: stream.write("".join(f"{name}\n" for name in merged).encode()))


def structure_names(entry: Entry, ids: list[int]) -> dict[str, int]:
    """Names of object ids: the sidecar's, else those of :func:`all_named`."""
    sidecar = read_sidecar(entry.image.parent, entry.name)
    known = {value: name for name, value in (sidecar.names if sidecar else {}).items()}
    return all_named(ids, known)
