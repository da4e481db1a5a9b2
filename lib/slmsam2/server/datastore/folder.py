"""A folder of images as datastore: MONAI Label's, made safe.

MONAI Label's own follows links and names out of the folder, copies labels and writes its list of them (the index) in
place, so that a crash or a full disk leaves half a file, and puts a label over that of somebody else.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from slmsam2.errors import ConfigurationError, StorageError
from slmsam2.files import remove_temporary, staged, stamp_of
from slmsam2.server.datastore.followed import FollowedFolder
from slmsam2.server.datastore.reviews import FINAL, answered, is_answered, noted, without_review
from slmsam2.server.datastore.versions import keep_earlier
from slmsam2.server.routes.names import check_id, check_tag
from slmsam2.server.running.shortage import is_full_disk

logger = logging.getLogger(__name__)

HANDED_OUT = "slmsam2"  # our note among those of MONAI Label's strategies


class FolderDatastore(FollowedFolder):
    """Images and labels of a folder, and nothing outside it.

    What is saved is on disk, whole, before a method returns. Several processes may use one folder: they change it one
    at a time, and each reads the index again when another one has put a new one into place. Arguments are those of
    MONAI Label's.

    Raises:
        ConfigurationError: the folder cannot be written, or its index cannot be read.
    """

    _index: LocalDatastoreModel
    _config_ts: Any  # of the index that was read last, see _stamp
    _follows_others = False  # until there is an index
    has_archive = False  # that keeps each label: here, only approved ones are kept when they are replaced

    def __init__(self, datastore_path: str, *args: Any, **kwargs: Any) -> None:
        folder = Path(datastore_path)
        self._lock = FileLock(folder / ".lock")  # may be taken again by the thread that has it
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock:
                for each in (folder, *(folder / "labels").glob("*/")):
                    remove_temporary(each)
        except OSError as error:
            raise ConfigurationError(
                f"The folder of studies {folder} cannot be written ({error.strerror}), and labels are saved there. "
                "Let the server's user write it and what is in it, or name another folder."
            ) from error
        super().__init__(datastore_path, *args, **kwargs)
        self._follows_others = True

    @property
    def _datastore(self) -> LocalDatastoreModel:
        """The index as it is now, whoever wrote it; MONAI Label's methods read it here."""
        if self._follows_others and self._index_stamp() not in (None, self._config_ts):
            self._init_from_datastore_file()
        return self._index

    @_datastore.setter
    def _datastore(self, index: LocalDatastoreModel) -> None:
        self._index = index

    def get_image_uri(self, image_id: str) -> str:
        return self._inside(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return self._inside(super().get_label_uri(label_id, label_tag))

    def mark_of_label(self, image_id: str, tag: str) -> str:
        """What changes with a label's file, or with what was saved with it, but for its review; "" for one that is not
        there."""
        path = FolderDatastore.get_label_uri(self, image_id, tag)
        try:
            stamp = stamp_of(Path(path)) if path else ""
        except FileNotFoundError:
            return ""
        info = without_review(self.get_label_info(image_id, tag))
        return stamp and stamp + json.dumps(info, sort_keys=True, default=str)

    def final_info(self, image_id: str) -> dict[str, Any] | None:
        """What is known of the final label of an image, without fetching anything; None: there is none."""
        entry = self._datastore.objects.get(image_id)
        label = entry.labels.get(FINAL) if entry is not None else None
        return None if label is None else copy.deepcopy(label.info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image, or put another one in its place.

        Raises:
            PromptError: the id is no plain name.
            StorageError: the disk is full or cannot be written; nothing has changed.
        """
        own_id, ending = self._to_id(os.path.basename(image_filename))
        image_id = check_id(image_id or own_id)
        name = image_id + ending
        with self._changing():
            entry = ImageLabelModel(image=DataModel(info=_info(image_info, name), ext=ending))
            before = self._datastore.objects.get(image_id)
            if before is not None:
                entry.labels = before.labels
            target = Path(self._datastore.image_path()) / name
            with self._staged_file(target, image_filename) as put_in_place:
                self._commit({**self._datastore.objects, image_id: entry}, put_in_place)
            if before is not None and before.image.ext != ending:
                target.with_name(image_id + before.image.ext).unlink(missing_ok=True)
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Save a label; it and the index are on disk when this returns.

        Raises:
            PromptError: the tag is no plain name.
            StorageError: the disk is full or cannot be written; the label saved before is as it was.
            ImageNotFoundException: there is no such image.
        """
        tag = check_tag(str(getattr(label_tag, "value", label_tag)))
        _, ending = self._to_id(os.path.basename(label_filename))
        name = image_id + ending
        with self._changing():
            if image_id not in self._datastore.objects:
                raise ImageNotFoundException(f"Image {image_id} not found")
            entry = self._datastore.objects[image_id].model_copy(deep=True)
            info, target = _info(label_info, name), Path(self._datastore.label_path(tag)) / name
            with self._staged_file(target, label_filename) as put_in_place:
                new = Path(label_filename)
                keep_earlier(self._datastore, image_id, tag, info, new, entry.labels, self.has_archive)
                if tag == FINAL and tag in entry.labels:
                    info |= answered(entry.labels[tag].info)
                entry.labels[tag] = DataModel(info=info, ext=ending)
                self._commit({**self._datastore.objects, image_id: entry}, put_in_place)
            self._remove_files(image_id, target.parent, but=name)
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label.

        Raises:
            LabelNotFoundException: there is none.
            StorageError: the server may not delete it.
        """
        path = LocalDatastore.get_label_uri(self, label_id, label_tag)
        if not path or not self._inside(path):
            raise LabelNotFoundException(f"no label {label_id} with the tag {label_tag}")
        with self._lock, _as_storage_error():
            self._remove_files(label_id, Path(path).parent)
        self.refresh()

    def remove_image(self, image_id: str) -> None:
        with self._changing():
            if not FolderDatastore.get_image_uri(self, image_id):
                raise ImageNotFoundException(f"Image {image_id} not found")
            with _as_storage_error():
                super().remove_image(image_id)
        self.refresh()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._changing():
            super().update_image_info(image_id, info)

    def hand_out(self, image_id: str, client: str | None, now: float, recent: float) -> bool:
        """Take note that a client is given an image to label, unless somebody was given it lately.

        It is noted for all servers of the folder where MONAI Label notes it, too, under ``strategy`` in the image's
        info. Of an image that is gone nothing is noted.

        Args:
            now: seconds since 1970.
            recent: what was handed out so many seconds ago or more may be handed out again.
        """
        with self._changing():
            if any(abs(now - moment) < recent for moment in _moments(self._holders_noted(image_id))):
                return False
            self._note_holder(image_id, client, now, {})
        return True

    def note_holder(self, image_id: str, client: str | None, now: float, also: Mapping[str, Any]) -> None:
        """Take note, for all servers of the folder, that a client goes on with the image that they were given.

        Args:
            now: seconds since 1970.
            also: what else is to be noted in the image's info.
        """
        with self._changing():
            self._note_holder(image_id, client, now, also)

    def _holders_noted(self, image_id: str) -> dict[str, Any]:
        entry = self._datastore.objects.get(image_id)
        notes = None if entry is None else entry.image.info.get("strategy")
        return notes if isinstance(notes, dict) else {}

    def _note_holder(self, image_id: str, client: str | None, now: float, also: Mapping[str, Any]) -> None:
        if image_id in self._datastore.objects:
            notes = {**self._holders_noted(image_id), HANDED_OUT: {"ts": now, "client_id": client}}
            super().update_image_info(image_id, {**also, "strategy": notes})

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._changing():
            told = noted(info)
            if is_answered(told, self.get_label_info(label_id, label_tag)):
                told = without_review(told)
            super().update_label_info(label_id, label_tag, told)

    def note_with_final(self, image_id: str, note: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Note something with the final label of an image, while no other one is saved.

        Args:
            note: is given what is known of the label, and gives what is to be noted; what it raises is raised.

        Raises:
            LabelNotFoundException: there is none.
        """
        with self._changing():
            info = FolderDatastore.final_info(self, image_id)
            if info is None:
                raise LabelNotFoundException(f"no final label of {image_id}")
            FolderDatastore.update_label_info(self, image_id, FINAL, note(info))

    def _remove_files(self, label_id: str, folder: Path, but: str = "") -> None:
        """Remove the files of a label, whatever their endings, but the one of this name: one of another ending would
        come back as the label, without names, once that is gone."""
        for name in self._list_files(str(folder), self._extensions):
            if name != but and self._to_id(name)[0] == label_id:
                (folder / name).unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone in changing the folder, with the index as it is on disk; what could not be written there is not so."""
        with self._lock:
            self._init_from_datastore_file()
            try:
                yield
            except StorageError:
                self._config_ts = 0  # MONAI Label's methods change the one in memory first: it is read again
                raise

    @contextmanager
    def _staged_file(self, target: Path, source: str) -> Iterator[Callable[[], None]]:
        def write(stream: IO[bytes]) -> None:
            with open(source, "rb") as content:
                shutil.copyfileobj(content, stream)

        with _as_storage_error(), staged(target, write) as put_in_place:
            yield put_in_place

    def _commit(self, objects: Mapping[str, ImageLabelModel], put_in_place: Callable[[], None]) -> None:
        """Write the new index beside the old one; only then move both files, which takes no space."""
        changed = self._datastore.model_copy(update={"objects": dict(objects)})
        with staged(Path(self._datastore_config_path), _index_writer(changed)) as put_index_in_place:
            put_in_place()
            put_index_in_place()
        self._datastore = changed
        self._config_ts = self._index_stamp()

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._lock, _as_storage_error():
            self._commit(self._datastore.objects, lambda: None)

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._lock:
            try:
                # Opened and not only looked at: a network file system may remember what a file was a while ago.
                with open(self._datastore_config_path, encoding="utf-8") as file:
                    stamp = _stamp(os.fstat(file.fileno()))
                    if stamp == self._config_ts:
                        return
                    loaded = LocalDatastoreModel.model_validate_json(file.read())
            except FileNotFoundError:
                return
            except ValueError as error:
                if throw_exception:
                    raise ConfigurationError(
                        f"The index {self._datastore_config_path} is damaged. Put a copy of it there, such as your "
                        "backup's, or move it away: labels are then taken in without names and reviews."
                    ) from error
                logger.exception(
                    "The index %s is damaged: the one in memory stays", self._datastore_config_path
                )
                self._config_ts = stamp
                return
            loaded.base_path = self._datastore_path
            self._datastore, self._config_ts = loaded, stamp

    def _index_stamp(self) -> Any:
        """What changes when the index does; None: there is no file yet."""
        try:
            return _stamp(os.stat(self._datastore_config_path))
        except FileNotFoundError:
            return None

    def _reconcile_datastore(self) -> None:
        with self._lock:
            super()._reconcile_datastore()


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _moments(notes: Mapping[str, Any]) -> list[float]:
    stamps = [note.get("ts") for note in notes.values() if isinstance(note, dict)]
    return [stamp for stamp in stamps if isinstance(stamp, (int, float))]


def _info(given: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    return {**noted(copy.deepcopy(dict(given or {}))), "ts": int(time.time()), "name": name}


def _index_writer(index: LocalDatastoreModel) -> Callable[[IO[bytes]], int]:
    text = json.dumps(index.model_dump(exclude={"base_path"}), indent=2, default=str)
    return lambda stream: stream.write(text.encode())


@contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = (
            "Free some space on the server's disk"
            if is_full_disk(error)
            else "Let the server's user write the folder of studies and what is in it"
        )
        raise StorageError(
            f"The server could not save or delete this: {error.strerror or error}. What was saved before is as it was. "
            f"{advice}, then try again."
        ) from error
