"""Ways to damage a file; each takes its content and a random.Random."""

from __future__ import annotations

import struct

HEADER = 400  # bytes in which what matters stands
ABSURD = [struct.pack("<i", n) for n in (0, -1, 2**31 - 1, -(2**31), 70_000)] + [
    struct.pack("<f", x) for x in (float("nan"), float("inf"), 1e38)
]


def cut(content, chance):
    return content[: chance.randrange(len(content) * 9 // 10)]


def flip(content, chance):
    """One to eight bits of the header are others."""
    damaged = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        damaged[chance.randrange(min(HEADER, len(damaged)))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def absurd(content, chance):
    """Four bytes of the header say something else: sizes of zero, of thousands of millions, numbers that are none."""
    at = chance.randrange(min(HEADER, len(content)) - 4)
    return content[:at] + chance.choice(ABSURD) + content[at + 4 :]


def scramble(content, chance):
    """A stretch anywhere is noise."""
    at = chance.randrange(len(content))
    length = min(chance.randint(1, 200), len(content) - at)
    return content[:at] + chance.randbytes(length) + content[at + length :]


WAYS = (cut, flip, absurd, scramble)
