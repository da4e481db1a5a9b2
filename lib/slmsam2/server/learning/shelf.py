"""What is kept of each image, in a file that several servers share."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

MOST_VOLUMES = 50  # that are kept; those learnt first go first


@dataclass(frozen=True)
class Shelf:
    """A folder of such files.

    Attributes:
        folder: need not be there.
        suffix: of the files, with its dot.
    """

    folder: Path
    suffix: str

    def path_of(self, image_id: str, mark: str = "") -> Path:
        """Where the file of an image lies, or would.

        Args:
            mark: of what the file was made of; another one makes another file.
        """
        return self.folder / f"{'-'.join(_short(text) for text in (image_id, mark) if text)}{self.suffix}"

    def is_of(self, file: Path, image_id: str | None) -> bool:
        """Whether a file is that of an image, made of whatever."""
        return image_id is not None and file.name.startswith(_short(image_id))

    def files(self) -> list[tuple[int, Path]]:
        """When they were written (ns) and where they are, the newest at the end."""
        files = []
        for file in self.folder.glob(f"[0-9a-f]*{self.suffix}"):
            with contextlib.suppress(FileNotFoundError):  # another server has cleared it up
                files.append((file.stat().st_mtime_ns, file))
        return sorted(files)

    def clear_up(self, labelled: Mapping[str, str]) -> None:
        """Remove the files of images that are not labelled now, or otherwise, and the oldest of what is too much.

        Args:
            labelled: image id -> mark of its label.
        """
        wanted = {self.path_of(*one) for one in labelled.items()}
        files = [file for _, file in self.files()]
        kept = [file for file in files if file in wanted][-MOST_VOLUMES:]
        for file in set(files) - set(kept):
            file.unlink(missing_ok=True)

    def to_learn(self, labelled: Mapping[str, str], changed: Collection[str]) -> list[str]:
        """The images whose labels changed, and then those that have no file yet, as far as there is room.

        Args:
            labelled: image id -> mark of its label.
            changed: those of them that are known to have changed.
        """
        known = {file for _, file in self.files()}
        paths = {image: self.path_of(image, mark) for image, mark in labelled.items()}
        again = [image for image in paths if image in changed]
        missing = [image for image, path in paths.items() if path not in known and image not in changed]
        room = max(MOST_VOLUMES - len(known.union(paths[image] for image in again)), 0)
        return [*again, *missing[:room]]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
