"""What is kept of each image, in a file that several servers share."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterable
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

    def path_of(self, image_id: str) -> Path:
        """Where the file of an image lies, or would."""
        digest = hashlib.sha256(image_id.encode(errors="surrogatepass")).hexdigest()
        return self.folder / f"{digest[:16]}{self.suffix}"

    def files(self) -> list[tuple[int, Path]]:
        """When they were written (ns) and where they are, the newest at the end."""
        files = []
        for file in self.folder.glob(f"[0-9a-f]*{self.suffix}"):
            with contextlib.suppress(FileNotFoundError):  # another server has cleared it up
                files.append((file.stat().st_mtime_ns, file))
        return sorted(files)

    def clear_up(self, labelled: Iterable[str]) -> None:
        """Remove the files of images that are not labelled now, and the oldest of what is too much."""
        wanted = {self.path_of(image_id) for image_id in labelled}
        files = [file for _, file in self.files()]
        kept = [file for file in files if file in wanted][-MOST_VOLUMES:]
        for file in set(files) - set(kept):
            file.unlink(missing_ok=True)

    def to_learn(self, labelled: Iterable[str], changed: Collection[str]) -> list[str]:
        """The images whose labels changed, and then those that have no file yet, as far as there is room."""
        known = {file for _, file in self.files()}
        labelled = list(labelled)
        again = [image for image in labelled if image in changed]
        missing = [image for image in labelled if self.path_of(image) not in known and image not in changed]
        room = max(MOST_VOLUMES - len(known.union(map(self.path_of, again))), 0)
        return [*again, *missing[:room]]
