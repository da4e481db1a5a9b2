"""JSON that clients send: one object, of a depth and with values that can be worked with, saved and sent back."""

from __future__ import annotations

import json
from typing import Any

from slmsam2.errors import PromptError

DEEPEST = 40  # nested lists and objects; Python's own limit is met by far less than what it can parse


def parse_object(what: str, text: str | None) -> dict[str, Any]:
    """The object in a text; {} for an empty one.

    Args:
        what: how the text is called in messages.
        text: JSON.

    Raises:
        PromptError: it is no JSON, or nothing that :func:`check_object` takes.
    """
    try:
        content = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise PromptError(f"'{what}' of this request is not JSON: {error}. Send one JSON object.") from error
    return check_object(what, content)


def check_object(what: str, content: Any) -> dict[str, Any]:
    """The same object.

    Numbers that are not finite and half characters are refused: they can be read, but never be sent back.

    Raises:
        PromptError: it is no object, is nested too deeply, or has such values in it.
    """
    if not isinstance(content, dict):
        raise PromptError(f"'{what}' of this request must be one JSON object: {{name: value, ...}}.")
    if _is_deeper(content, DEEPEST):
        raise PromptError(
            f"'{what}' of this request must not be nested more than {DEEPEST} deep. Send something simpler."
        )
    try:
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        raise PromptError(
            f"'{what}' of this request must not hold NaN, an infinite number or half a character: JSON has none."
        ) from error
    return content


def _is_deeper(content: Any, levels: int) -> bool:
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)
