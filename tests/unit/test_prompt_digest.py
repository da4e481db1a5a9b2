"""Fingerprints of prompts: kept passes belong to one prompt only."""

from dataclasses import replace

import numpy as np
import pytest

from slmsam2.engine.spans import prompt_digest
from slmsam2.prompts import Marks

pytestmark = pytest.mark.unit


def test_whatever_changes_the_answer_changes_the_fingerprint():
    nothing, two = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    two[2, 2] = two[5, 5] = True
    marks = Marks(two, nothing, first=(2, 2))
    others = [
        two,
        replace(marks, first=(5, 5)),
        replace(marks, first=None),
        replace(marks, inside=nothing),
        replace(marks, outside=two),
        replace(marks, box=(1.0, 1.0, 4.0, 4.0)),
        replace(marks, box=(1.0, 1.0, 4.0, 4.0), loose=True),
        replace(marks, base=two),
    ]
    assert prompt_digest(marks) == prompt_digest(Marks(two.copy(), nothing, first=(2, 2)))
    assert len({prompt_digest(one) for one in (marks, *others)}) == len(others) + 1
