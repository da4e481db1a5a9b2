"""Names that clients send, of images, labels, tags and files: none of them may lead anywhere."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from slmsam2.errors import PromptError

LONGEST = 248  # bytes of an id: file systems take 255, the longest ending included
LONGEST_TAG = 200  # bytes; a date comes behind it
SHOWN = 200  # characters of a name that is refused
MOST_DECODINGS = 5
TAG = re.compile(r"\w[\w .-]*")


def decoded(text: str) -> str:
    """Text without percent encoding that was applied up to MOST_DECODINGS times."""
    for _ in range(MOST_DECODINGS):
        text = unquote(text)
    return text


def leads_away(path: str) -> bool:
    """Whether a path of a request has a part that no route of the server needs: "..", a backslash, a control
    character; percent encoding is seen through, and refused where it was applied more than MOST_DECODINGS times."""
    plain = decoded(path)
    return (
        unquote(plain) != plain
        or ".." in plain.split("/")
        or re.search(r"[\\\x00-\x1f\x7f]", plain) is not None
    )


def check_id(name: str, what: str = "image") -> str:
    """An id of an image or a label, as it came.

    Raises:
        PromptError: it could be read as a path, is hidden (".name"), empty or too long.
    """
    plain = decoded(name)
    if _bytes(name) > LONGEST:
        raise PromptError(
            f"{name[:SHOWN]!r} is too long as id of the {what}. Use one of at most {LONGEST} bytes: as many "
            "plain letters, or a third of that in Chinese."
        )
    if leads_away(name) or "/" in plain or plain.startswith(".") or not plain.strip():
        raise PromptError(
            f"{name[:SHOWN]!r} is not a valid {what} id. Give the id as /datastore/?output=all lists it: a name "
            "without a path."
        )
    return name


def is_id(name: str) -> bool:
    """Whether a name can be an id of an image: see :func:`check_id`."""
    try:
        return check_id(name) == name
    except PromptError:
        return False


def _bytes(name: str) -> int:
    """What a name takes in a file system."""
    return len(name.encode(errors="surrogatepass"))


def check_tag(tag: str) -> str:
    """A label's tag, as it came.

    Raises:
        PromptError: it is no plain name.
    """
    if not TAG.fullmatch(tag) or _bytes(tag) > LONGEST_TAG:
        raise PromptError(
            f"{tag[:SHOWN]!r} is no label tag. Use letters, digits, '-' and '_', for instance 'final'."
        )
    return tag


def is_session_id(text: str) -> bool:
    """Whether a text can be a session's id, which becomes a folder's name; MONAI Label makes UUIDs."""
    return re.fullmatch(r"[0-9A-Za-z-]{1,64}", text) is not None


def ending_of(filename: str | None, endings: tuple[str, ...]) -> str:
    """The ending of a client's file name, the longest that fits; "" if none of these does."""
    name = (filename or "").lower()
    return max((e for e in endings if name.endswith(e)), key=len, default="")


def base_of(filename: str | None) -> str:
    """A client's file name without its folders, whatever system they are of."""
    return PureWindowsPath(filename or "").name


def inside(folder: Path, path: Path) -> bool:
    """Whether a path lies in a folder once links are followed."""
    return path.resolve().is_relative_to(folder.resolve())
