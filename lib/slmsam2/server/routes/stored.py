"""MONAI Label's datastore endpoints, off the event loop, with checked names and a sentence for each error."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, UploadFile
from monailabel.config import settings
from monailabel.endpoints import datastore as stock
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelException
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from slmsam2.errors import PromptError, StorageError, VolumeError
from slmsam2.server.datastore.finals import as_final_is, check_final, check_version
from slmsam2.server.datastore.inspection import inspect
from slmsam2.server.datastore.repeated import join_repeated
from slmsam2.server.datastore.reviews import META, VERSION, signed
from slmsam2.server.requests.parameters import text_of
from slmsam2.server.requests.received import FILE_ENDINGS
from slmsam2.server.routes.answers import unknown_label
from slmsam2.server.routes.dataset import pack
from slmsam2.server.routes.front import off_the_loop, router_of_checked
from slmsam2.server.routes.json_objects import parse_object
from slmsam2.server.routes.names import base_of, check_id, check_tag, ending_of
from slmsam2.server.routes.uploads import as_file
from slmsam2.server.running.shortage import is_full_disk

logger = logging.getLogger(__name__)

FINAL = DefaultLabelTag.FINAL.value
Work = Callable[..., Any]


def stored_routes(most_voxels: int) -> APIRouter:
    """Images, labels, lists of them and what is known of them, at MONAI Label's own addresses.

    Args:
        most_voxels: bound on images and labels that are sent.
    """
    add_image, save_label = (functools.partial(work, most_voxels) for work in (_add_image, _save_label))
    router = router_of_checked(stock.router.prefix)
    for method, path, own, work in (
        ("GET", "/", stock.api_datastore, stock.datastore),
        ("PUT", "/image", stock.api_add_image, add_image),
        ("PUT", "/", stock.api_add_image, add_image),
        ("DELETE", "/image", stock.api_remove_image, stock.remove_image),
        ("DELETE", "/", stock.api_remove_image, stock.remove_image),
        ("HEAD", "/image", stock.api_check_image, _check_image),
        ("GET", "/image", stock.api_download_image, stock.download_image),
        ("GET", "/image/info", stock.api_get_image_info, _image_info),
        ("PUT", "/image/info", stock.api_put_image_info, stock.update_image_info),
        ("PUT", "/label", stock.api_save_label, save_label),
        ("GET", "/label", stock.api_download_label, stock.download_label),
        ("DELETE", "/label", stock.api_remove_label, stock.remove_label),
        ("HEAD", "/label", stock.api_check_label, _check_label),
        ("GET", "/label/info", stock.api_get_label_info, stock.get_label_info),
        ("PUT", "/label/info", stock.api_put_label_info, _note_with_label),
        ("PUT", "/updatelabelinfo", stock.api_update_label_info, _update_label_info),
        ("GET", "/dataset", stock.api_download_dataset, _download_dataset),
    ):
        name = f"slmsam2_{method}{path}"
        router.add_api_route(path, _endpoint(own, work), methods=[method], name=name, include_in_schema=False)
    return router


def _endpoint(own: Work, work: Work) -> Work:
    """An endpoint with the parameters (and so the access checks) of MONAI Label's ``own``, that does ``work``."""
    takes_user = "user" in signature(work).parameters

    def answer(arguments: dict[str, Any]) -> Any:
        user = arguments.pop("user")
        if takes_user:
            arguments["user"] = user.username
        _check(arguments)
        try:
            return work(**arguments)
        except (LookupError, MONAILabelException) as error:
            raise unknown_label() from error
        except HTTPException as error:  # stock ones say as much, in fewer words
            raise (unknown_label() if error.status_code == 404 else error) from error
        except OSError as error:
            if not is_full_disk(error):
                raise
            logger.warning("No space: %s", error)
            raise StorageError(
                "The server's disk is full: nothing was saved, and what was saved before is as it was. Free some "
                "space on the server, then save again."
            ) from error

    return off_the_loop(own, answer)


def _check(arguments: dict[str, Any]) -> None:
    """Check what names an image, a label or a tag, and that texts which must be JSON objects are.

    Raises:
        PromptError: with a sentence.
    """
    for name in ("image", "id", "label"):
        if isinstance(arguments.get(name), str):
            check_id(arguments[name], "label" if name == "label" else "image")
    if isinstance(arguments.get("tag"), str) and arguments["tag"]:
        check_tag(arguments["tag"])
    for name in ("params", "info"):
        if name in arguments:
            arguments[name] = json.dumps(parse_object(name, arguments[name]))


def _add_image(
    most_voxels: int, image: str | None, file: UploadFile, params: str, user: str, background_tasks: Any
) -> Any:
    endings = tuple(pattern.lstrip("*") for pattern in settings.MONAI_LABEL_DATASTORE_FILE_EXT)
    name = base_of(file.filename)
    ending = _ending(file, endings)
    image = check_id(image or name[: -len(ending)])
    with _uploaded(file, ending, most_voxels) as path:
        info = {**json.loads(params), "user": user}
        app, client = stock.app_instance(), text_of(info, "client_id")
        added = app.datastore().add_image(image, path, info)
        if client is not None:
            app.image_added(added, Path(path), client)
        return {"image": added}


def _save_label(
    most_voxels: int, image: str, label: UploadFile, params: str, tag: str, user: str, background_tasks: Any
) -> Any:
    info = json.loads(params)
    if settings.MONAI_LABEL_AUTH_ENABLE:
        info = signed(info, user) | {"user": user}
    app = stock.app_instance()
    with _uploaded(label, _ending(label, FILE_ENDINGS), most_voxels) as path:
        info = join_repeated(Path(path), info)
        with _checked(app.datastore(), image, Path(path), tag or FINAL, info) as checked:
            label_id = app.datastore().save_label(image, str(checked), tag or FINAL, info)
    return {**(app.on_save_label(image, label_id) or {}), "image": image, "label": label_id}


@contextmanager
def _checked(datastore: Datastore, image: str, path: Path, tag: str, info: dict[str, Any]) -> Iterator[Path]:
    """The file of a label that may be saved under its tag, while the context is open.

    Raises:
        SlmSam2Error: it may not.
    """
    if VERSION.fullmatch(tag):
        check_version(datastore, image, path, info)
        with as_final_is(datastore, image, path) as version:
            yield version
        return
    if tag == FINAL:
        check_final(datastore, image, path, info)
    yield path


@contextmanager
def _uploaded(upload: UploadFile, ending: str, most_voxels: int) -> Iterator[str]:
    """The upload as a file, while the context is open.

    Raises:
        VolumeError: it has more voxels than the server takes, or they lie in another file.
    """
    with as_file(upload, ending, most_voxels) as path:
        inspect(Path(path), most_voxels)
        yield path


def _ending(upload: UploadFile, endings: tuple[str, ...]) -> str:
    """The ending of a client's file name, which is all that is used of it."""
    ending = ending_of(upload.filename, endings)
    if ending in (".nhdr", ".mhd"):
        raise VolumeError(
            "A header alone holds no voxels. Save the label as one file (.nii.gz, .nrrd or .mha)."
        )
    if not ending:
        raise VolumeError(
            f"A file {base_of(upload.filename)!r} is not taken here. Send one of: {', '.join(sorted(endings))}."
        )
    return ending


def _check_image(image: str, check_sum: str | None) -> Any:
    algorithm = (check_sum or "").partition(":")[0]
    if ":" in (check_sum or "") and algorithm not in ("SHA256", "SHA512", "MD5"):
        raise PromptError("The check_sum is not understood. Give SHA256:..., SHA512:... or MD5:...")
    return stock.download_image(image, check_only=True, check_sum=check_sum)


def _image_info(image: str) -> Any:
    info = stock.get_image_info(image)
    if not info:
        raise unknown_label()
    return info


def _check_label(image: str, tag: str) -> Any:
    return stock.download_label(image, tag, check_only=True)


def _note_with_label(label: str, tag: str, info: str, user: str) -> None:
    told = json.loads(info)
    app = stock.app_instance()
    app.datastore().update_label_info(
        label, tag, signed(told, user) if settings.MONAI_LABEL_AUTH_ENABLE else told
    )
    if META in told:
        app.label_reviewed(label)


def _update_label_info(label: str, tag: str, params: str, user: str) -> None:
    _note_with_label(label, tag, params, user)


def _download_dataset(limit_cases: int | None) -> Any:
    archive = pack(stock.app_instance().datastore(), limit_cases)
    close = BackgroundTask(archive.close)
    return FileResponse(archive.name, media_type="application/zip", filename="dataset.zip", background=close)
