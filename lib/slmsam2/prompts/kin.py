"""Which structures are alike, told by their names: the two of a pair, those of a series, one that is spelt in two ways.

"kidney_left" and "Right kidney" are a pair, "vertebrae_L1" and "vertebrae_T12" belong to a series, "liver" and "Liver"
are the same. Names are taken apart as people and atlases write them: ``L-thalamus``, ``Putamen_R``, ``lh hippocampus``,
``rib_left_7``, ``LeftKidney``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

MOST_KIN = 6  # of a structure; the nearest in its series
WORD = re.compile(r"A?a+0{0,9}|A+0{0,9}|0{1,9}")  # in a name's outline, see _outline
LEFT, RIGHT = "left", "right"
IN_ENGLISH_LATIN_GERMAN_FRENCH_SPANISH = {
    LEFT: "left l lh lt sinister sin links gauche izquierdo izquierda",
    RIGHT: "right r rh rt dexter dex rechts droit droite derecho derecha",
}
SIDES = {
    word: side for side, words in IN_ENGLISH_LATIN_GERMAN_FRENCH_SPANISH.items() for word in words.split()
}
# vertebrae above the first cervical, thoracic, lumbar and sacral one
SPINE = {"c": 0, "t": 7, "l": 19, "s": 24}
NUMBER = "#"  # stands for one among a name's words
# words that say nothing of what a structure is: those of a series of them are not alike
EMPTY = {NUMBER, "segment", "structure", "label", "class", "region", "roi", "object", "mask", "value", "part"}


@dataclass(frozen=True)
class Kin:
    """A structure that is alike.

    Attributes:
        name: of it.
        mirrored: whether it is the other one of a pair, so that its mirror image is alike.
    """

    name: str
    mirrored: bool


@dataclass(frozen=True)
class _Parts:
    """What a name consists of: words in their order, with NUMBER for numbers; the numbers; LEFT, RIGHT or None."""

    words: tuple[str, ...]
    numbers: tuple[int, ...]
    side: str | None


def kin_of(name: str, others: Iterable[str]) -> list[Kin]:
    """Those among other structures that are alike, the nearest in a series first, MOST_KIN at most."""
    if not says_what(name):
        return []
    own = _parts(name)
    found = []
    for other in others:
        parts = _parts(other)
        if parts.words != own.words:
            continue
        distance = sum(abs(a - b) for a, b in zip(own.numbers, parts.numbers, strict=True))
        if parts.side == own.side:
            found.append((distance, Kin(other, mirrored=False)))
        elif not distance and {own.side, parts.side} == {LEFT, RIGHT}:
            found.append((distance, Kin(other, mirrored=True)))
    return [kin for _, kin in sorted(found, key=lambda one: one[0])[:MOST_KIN]]


def says_what(name: str) -> bool:
    """Whether a name tells what a structure is: "Segment_1", which clients make up, may be another one each time."""
    return not set(_parts(name).words) <= EMPTY


def _outline(name: str) -> str:
    """A name with "A" for each capital, "a" for other letters of any script, "0" for digits, "-" for the rest."""
    kinds = {"Lu": "A", "Nd": "0"}
    categories = map(unicodedata.category, name)
    return "".join(kinds.get(one, "a" if one[0] in "LM" else "-") for one in categories)


@lru_cache(maxsize=4096)
def _parts(name: str) -> _Parts:
    words, numbers, sides = [], [], []
    name = unicodedata.normalize("NFKC", name)
    for match in WORD.finditer(_outline(name)):
        text = name[match.start() : match.end()].lower()
        word, digits = re.fullmatch(r"(\D*)(\d*)", text).groups()  # type: ignore[union-attr]
        if digits and word in SPINE:
            words.append(f"vertebra {NUMBER}")
            numbers.append(SPINE[word] + int(digits))
            continue
        if word in SIDES:
            sides.append(SIDES[word])
        elif word:
            words.append(word)
        if digits:
            words.append(NUMBER)
            numbers.append(int(digits))
    return _Parts(tuple(words), tuple(numbers), sides[0] if len(set(sides)) == 1 else None)
