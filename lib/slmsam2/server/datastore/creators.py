"""Who made a label, as its DICOM SEG object says it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset

from slmsam2.server.datastore.versions import NOBODY

BROWSER = re.compile(r"browser-[0-9a-f]+")  # what OHIF's panel calls itself where nobody signs in
PLACEHOLDER = "Reader1"  # whom MONAI Label names as the creator of all it makes
MOST_CHARACTERS = 64  # of a person's name in DICOM


def name_of(saved: Mapping[str, Any]) -> str:
    """Who saves a label, to be read by people: who signed in, else the name that the client has; "" for nobody.

    Args:
        saved: what is sent with the label.
    """
    name = saved.get("user") or saved.get("client_id")
    return "" if not isinstance(name, str) or name in NOBODY or BROWSER.fullmatch(name) else name


def creator_of(saved: Mapping[str, Any]) -> str:
    """Who saves a label, written as DICOM takes it; "" for nobody.

    Letters lose their accents, and what is none of ASCII is left out: a name in another script would need the object's
    other texts to be written anew.

    Args:
        saved: what is sent with the label.
    """
    plain = unicodedata.normalize("NFKD", name_of(saved)).encode("ascii", "ignore").decode()
    taken = "".join(each for each in plain if each.isprintable() and each not in "^=\\")
    return taken.strip()[:MOST_CHARACTERS]


def creator_in(seg: Dataset) -> str:
    """Who made a SEG object, to be read by people; "" if it does not say."""
    name = " ".join(str(seg.get("ContentCreatorName") or "").replace("^", " ").split())
    return "" if name == PLACEHOLDER else name
