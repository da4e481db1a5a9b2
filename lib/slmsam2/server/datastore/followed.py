"""The files of a folder of studies: which of them are served, and that they come and go."""

from __future__ import annotations

import fnmatch
import functools
import logging
import os
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore
from watchdog.events import FileSystemEvent

from slmsam2.files import is_temporary
from slmsam2.server.routes.names import ending_of, inside, is_id

logger = logging.getLogger(__name__)


class FollowedFolder(LocalDatastore):
    """MONAI Label's datastore of a folder; it serves nothing outside, and looks again when files have come or gone.

    Arguments are those of MONAI Label's.
    """

    def __init__(self, datastore_path: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(datastore_path, *args, **kwargs)
        if self._auto_reload:
            # MONAI Label's begin with the folder's name, in which a bracket would be none
            index = os.path.basename(self._datastore_config_path)
            self._handler._patterns = [f"**/{pattern}" for pattern in (*self._extensions, index)]
            self._handler.on_moved = self._on_moved

    def not_served(self) -> list[str]:
        """Names of files and folders beside the images that are none of them; hidden ones and our own do not count."""
        images = {image_id + entry.image.ext for image_id, entry in self._datastore.objects.items()}
        own = {Path(path).name for path in (self._datastore_config_path, self._datastore.label_path(None))}
        there = os.listdir(self._datastore.image_path())
        return sorted(name for name in there if not name.startswith(".") and name not in images | own)

    def _inside(self, path: str) -> str:
        """The path; "" for one outside the folder."""
        return path if path and inside(Path(self._datastore_path), Path(path)) else ""

    def _to_id(self, file: str) -> tuple[str, str]:
        """Id and ending of a file's name; endings may be written in capitals."""
        ending = ending_of(file, tuple(pattern.lstrip("*").lower() for pattern in self._extensions))
        return (file[: -len(ending)], file[-len(ending) :]) if ending else super()._to_id(file)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        there = [name for name in os.listdir(path) if not name.startswith(".")]
        found = {
            name: name
            for pattern in patterns
            for name in there
            if fnmatch.fnmatchcase(name.lower(), pattern.lower())
        }
        for name in found.keys() - self._names_in(path):
            logger.warning(
                "%r is not served: it is a link that leads out of the folder of studies, or no request may have it as "
                "an id, as it could be read as a path",
                name,
            )
            del found[name]
        return found

    def _names_in(self, path: str) -> set[str]:
        """Names of what is in a folder and can be served."""
        if not os.path.isdir(path) or not self._inside(path):
            return set()
        with os.scandir(path) as entries:
            return {entry.name for entry in entries if self._can_be_served(entry)}

    def _can_be_served(self, entry: os.DirEntry[str]) -> bool:
        """Whether requests may name it, and it is no link that leads nowhere or out of the folder of studies."""
        there = not entry.is_symlink() or (os.path.exists(entry.path) and bool(self._inside(entry.path)))
        return there and is_id(self._to_id(entry.name)[0])

    def _remove_non_existing(self) -> int:
        """Drop from the index what is not there any more; readers never see it half done."""
        self._init_from_datastore_file()
        names_in = functools.cache(self._names_in)
        images, removed = {}, 0
        for image_id, entry in self._datastore.objects.items():
            if image_id + entry.image.ext not in names_in(self._datastore.image_path()):
                removed += 1
                continue
            labels = {
                tag: label
                for tag, label in entry.labels.items()
                if image_id + label.ext in names_in(self._datastore.label_path(tag))
            }
            removed += len(entry.labels) - len(labels)
            images[image_id] = entry.model_copy(update={"labels": labels})
        self._datastore.objects = images
        return removed

    def _on_any_event(self, event: FileSystemEvent) -> None:
        """Files have come or gone: of many at once the first look through the folder sees most, and who saves need not
        wait for one look after the other."""
        paths = (event.src_path, event.dest_path)
        if any(self._is_news(Path(os.fsdecode(path))) for path in paths if path):
            self.refresh()

    def _is_news(self, file: Path) -> bool:
        """Whether an image or a label is there and not in the index, or in the index and not there."""
        image_id, ending = self._to_id(file.name)
        if not is_id(image_id):
            return False
        entry = self._datastore.objects.get(image_id)
        if file.parent == Path(self._datastore.image_path()):
            listed = entry and entry.image
        elif file.parent.parent == Path(self._datastore.label_path(None)):
            listed = entry and entry.labels.get(file.parent.name)
        else:
            return False
        return (listed is not None and listed.ext == ending) != file.exists()

    def _on_modify_event(self, event: FileSystemEvent) -> None:
        if event.src_path == self._datastore_config_path:
            self._init_from_datastore_file()

    def _on_moved(self, event: FileSystemEvent) -> None:
        """Another process has put a new index, or a file of its own, into place."""
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        elif not is_temporary(os.fsdecode(event.src_path)):
            self._on_any_event(event)
