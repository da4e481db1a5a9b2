"""What is looked at before a label becomes the final one of an image, or a reviewer's version of that: models learn
from it, and others rely on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException

from slmsam2.errors import PromptError, VolumeError
from slmsam2.prompts import counts_by_order, named_pairs
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.datastore.reviews import FINAL
from slmsam2.server.requests.painted import is_raw, read_saved
from slmsam2.server.requests.study import label_file
from slmsam2.server.routes.names import ending_of
from slmsam2.server.routes.uploads import temporary
from slmsam2.server.running.shortage import room_for
from slmsam2.values import present_values
from slmsam2.volume import (
    Volume,
    label_on_grid,
    lies_on_voxels,
    read_grid,
    read_label,
    read_volume,
    write_label,
)

MOST_LISTED = 12
WRITTEN_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def check_final(datastore: Datastore, image_id: str, path: Path, info: Mapping[str, Any]) -> None:
    """Look at a label that is to become the final one of an image.

    Raises:
        PromptError: it would replace a label with an empty one; and as :func:`check_version`.
    """
    present = check_version(datastore, image_id, path, info)
    if not present and _has_structures(datastore, image_id, Path(datastore.get_image_uri(image_id))):
        raise PromptError(
            f"The label is empty: nothing was saved. {image_id} has a final label with something in it, which stays. "
            "Paint or load the structures again, or delete the saved label if there is nothing to label."
        )


def check_version(datastore: Datastore, image_id: str, path: Path, info: Mapping[str, Any]) -> list[int]:
    """Look at a label that may come to count as the final one of an image does.

    Args:
        datastore: where the image is.
        path: file of the label.
        info: what is to be saved with it; ``label_info`` names its values.

    Returns:
        The values in it other than 0, ascending.

    Raises:
        ImageNotFoundException: there is no such image.
        VolumeError: the label cannot be read.
        GridError: it does not lie on the image.
        PromptError: it has values that the client has no name for.
    """
    image = datastore.get_image_uri(image_id)
    if not image or not Path(image).exists():
        raise ImageNotFoundException(f"Image {image_id} not found")
    try:
        present = _values_in(path, Path(image), check_place=True)
    except VolumeError as error:
        raise type(error)(f"The label was not saved. {error}") from error
    _check_named(present, info.get("label_info"))
    return present


@contextmanager
def as_final_is(datastore: Datastore, image_id: str, path: Path) -> Iterator[Path]:
    """A label as a file of the same kind as the image's final one, while the context is open.

    The Reviewer calls each version it has fetched as the final label is called, and saves all as NRRD.

    Args:
        path: file of the label, which was looked at.
    """
    final = label_file(datastore, image_id, FINAL)
    ending = ending_of(final.name, WRITTEN_ENDINGS) if final is not None else ""
    if not ending or path.name.endswith(ending):
        yield path
        return
    with temporary(ending) as file:
        with room_for(inspect(path)):
            label = read_label(path)
            write_label(file.name, label.array, label)
        yield Path(file.name)


def _check_named(present: Sequence[int], label_info: Any) -> None:
    """Whether each value has a name, where the client names any.

    Args:
        present: values above 0 in the label, ascending.
    """
    pairs = named_pairs(label_info) if isinstance(label_info, list) else ()
    named = [(name, value) for name, value in pairs if value]
    listed = [value for _, value in named]
    unnamed = sorted(set(present) - set(listed))
    if listed and unnamed and not counts_by_order(listed, present):
        raise PromptError(
            f"The label has the values {_joined(present)}, but label_info names only "
            f"{_joined(f'{name} ({value})' for name, value in named)}: nobody could tell what {_joined(unnamed)} is. "
            "Nothing was saved. Name each value, or take out what is not meant."
        )


def _has_structures(datastore: Datastore, image_id: str, image: Path) -> bool:
    """Whether an image has a final label with something in it."""
    label_id = datastore.get_label_by_image_id(image_id, FINAL)
    path = label_file(datastore, label_id, FINAL) if label_id else None
    try:
        return path is not None and bool(_values_in(path, image))
    except VolumeError:
        return False  # it says nothing to anybody


def _values_in(path: Path, image: Path, check_place: bool = False) -> list[int]:
    """The values of a label other than 0, ascending.

    Of an image beside a raw label a look at the header is enough, which counts colours apart.

    Args:
        check_place: whether to find out, too, if what is painted in the label lies on the image.

    Raises:
        VolumeError: the label cannot be read.
        GridError: it lies elsewhere.
    """
    in_image = inspect(image)
    with room_for(max(inspect(path), in_image)):
        if not is_raw(path):
            label = read_label(path)
            present = present_values(label.array)
            if check_place and present:
                _check_place(label, image)
            return present
        if path.stat().st_size == in_image:
            return present_values(np.fromfile(path, np.uint8))
        return present_values(read_saved(path, read_volume(image)).array)


def _check_place(label: Volume, image: Path) -> None:
    """Whether a label lies on an image, as inference asks it; of an image that cannot be read this cannot be told.

    Raises:
        GridError: it does not.
    """
    try:
        grid = read_grid(image)
    except VolumeError:
        return
    if not lies_on_voxels(label, grid):  # else there is nothing to resample, which takes seconds
        label_on_grid(label, grid)


def _joined(what: Iterable[Any]) -> str:
    """A list for people, of which no more than MOST_LISTED are named."""
    texts = [str(each) for each in what]
    more = [f"and {len(texts) - MOST_LISTED} more"] if len(texts) > MOST_LISTED else []
    return ", ".join([*texts[:MOST_LISTED], *more])
