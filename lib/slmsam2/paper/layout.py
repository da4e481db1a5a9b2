"""Finding the volumes of a list: folders of pictures as in the paper's layout, or files of volumes, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slmsam2.errors import ConfigurationError

IMAGES, LOSSLESS_IMAGES, MASKS = "images", "images_png", "masks"
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".dcm")


@dataclass(frozen=True)
class Entry:
    """A volume of a list; nothing is read yet.

    Attributes:
        name: as in the list.
        image: a folder with a picture per slice, a DICOM folder, or the file of a volume.
        mask: the same for its masks; None when there is none.
    """

    name: str
    image: Path
    mask: Path | None


def read_list(path: Path) -> list[str]:
    """The volumes named in a text file, one per line.

    Blank lines, spaces around names, and the kind of line ends do not matter.

    Raises:
        ConfigurationError: there is no such file, it is no text, names nothing, or names a volume twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The list of volumes '{path}' cannot be read: give a text file with a volume per line."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ConfigurationError(f"The list '{path}' is empty: write a volume's name on each line.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"The list '{path}' names {', '.join(twice)} more than once.")
    return names


def names_in(folder: Path) -> list[str]:
    """The volumes of a folder: its folders, and its files of volumes without their ending; sorted.

    Raises:
        ConfigurationError: there is no such folder.
    """
    _check_folder(folder)
    found = (_name_of(path) for path in folder.iterdir() if not path.name.startswith("."))
    return sorted({name for name in found if name is not None})


def entries(
    names: Sequence[str], images: Path, masks: Path | None, *, need_masks: bool = True
) -> list[Entry]:
    """Find each volume and its masks.

    Args:
        images, masks: folders with a folder of pictures, a DICOM folder, or the file of a volume (VOLUME_ENDINGS)
            for each name.
        need_masks: whether every volume must have masks.

    Raises:
        ConfigurationError: a folder is not there; or names all volumes that are missing.
    """
    for folder in (images, masks):
        if folder is not None:
            _check_folder(folder)
    found = [(name, find_volume(images, name), masks and find_volume(masks, name)) for name in names]
    lost = [name for name, image, _ in found if image is None]
    unmasked = [name for name, _, mask in found if mask is None] if need_masks else []
    problems = []
    if lost:
        problems.append(f"no images of {', '.join(lost)} in '{images}'")
    if unmasked:
        problems.append(f"no masks of {', '.join(unmasked)} in '{masks}'")
    if problems:
        raise ConfigurationError(
            f"There are {' and '.join(problems)}. Correct the list or add what is missing."
        )
    return [Entry(name, image, mask or None) for name, image, mask in found if image is not None]


def find_volume(folder: Path, name: str) -> Path | None:
    """The folder or file of a volume, None when there is none; endings may be in capitals."""
    candidates = [folder / name, *(folder / f"{name}{ending}" for ending in VOLUME_ENDINGS)]
    found = next((path for path in candidates if path.exists()), None)
    if found is None and folder.is_dir():
        return next((path for path in sorted(folder.iterdir()) if _name_of(path) == name), None)
    return found


def _name_of(path: Path) -> str | None:
    if path.is_dir():
        return path.name
    ending = next((one for one in VOLUME_ENDINGS if path.name.lower().endswith(one)), None)
    return path.name[: -len(ending)] if ending else None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder '{folder}'. Check the path.")
