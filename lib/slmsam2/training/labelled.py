"""Labels that users submitted: what is in them, and which of their slices can be trusted."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from slmsam2.errors import GridError, SlmSam2Error
from slmsam2.files import stamp_of
from slmsam2.prompts import named_values
from slmsam2.training.kept_labels import KeptLabel, LabelStore
from slmsam2.volume import (
    SliceView,
    Volume,
    default_axis,
    label_on_grid,
    painted_axis,
    read_label,
    read_volume,
)

logger = logging.getLogger(__name__)

KEPT_VOLUMES = 2  # in memory at a time
LEAST_RUN = 3  # slices side by side, from which on a label counts as drawn through and not slice by slice
CUT_OFF = 0.75  # a structure whose last slice has this share of its largest area was cut off there


@dataclass(frozen=True)
class Submission:
    """A label as it was submitted; nothing is read yet.

    Attributes:
        image_id: identity of the image.
        image, label: files, or folders of a DICOM series.
        names: structure -> value, as the client said.
        vouched: structure -> numbers of slices (as stored) that the user answers for; for structures that are not
            named here :func:`known_slices` decides.
        mark: by which a change of the label or of its names is noticed, the same on each machine; "": nobody knows.
    """

    image_id: str
    image: Path
    label: Path
    names: dict[str, int] = field(default_factory=dict)
    vouched: dict[str, list[int]] = field(default_factory=dict)
    mark: str = ""

    @property
    def stamp(self) -> str | None:
        """By which a change of the label is noticed, see :func:`slmsam2.files.stamp_of`; None for one that is gone."""
        try:
            return stamp_of(self.label)
        except OSError:
            return None


@dataclass(frozen=True)
class Structure:
    """One structure of a label.

    Attributes:
        name, value: as in the label.
        axis: stored axis it was drawn along.
        areas: pixels on each slice of the stack (S,).
        known: whether the label can be trusted on a slice of the stack, bool (S,).
    """

    name: str
    value: int
    axis: int
    areas: np.ndarray
    known: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Slices of the stack the structure is on, ascending."""
        return np.flatnonzero(self.areas)

    @property
    def drawn(self) -> np.ndarray:
        """Those of them that can be trusted."""
        return np.flatnonzero((self.areas > 0) & self.known)


@dataclass(frozen=True)
class Case:
    """A label that was read through once.

    Attributes:
        submission: where it is.
        digest: of its content: voxels, geometry, names, and what is vouched for.
        structures: by name.
        kept: the label on the image's grid as it was read, where the file may change before it is needed again.
    """

    submission: Submission
    digest: str
    structures: dict[str, Structure]
    kept: KeptLabel | None = None

    @property
    def image_id(self) -> str:
        """Identity of the image."""
        return self.submission.image_id


def read_cases(
    submissions: Iterable[Submission], store: LabelStore | None = None
) -> tuple[list[Case], dict[str, str]]:
    """Read each label through, one at a time.

    Args:
        store: keeps the labels as they are now; None: they are read again when they are needed.

    Returns:
        The cases that have a structure, and image id -> sentence for the labels that cannot be used.
    """
    cases, unusable = [], {}
    for submission in submissions:
        try:
            case = read_case(submission, store)
        except SlmSam2Error as error:
            logger.warning("The label of %s is left out: %s", submission.image_id, error)
            unusable[submission.image_id] = str(error)
            continue
        if case.structures:
            cases.append(case)
        else:
            unusable[submission.image_id] = "Nothing is painted in its label."
    return cases, unusable


def read_case(submission: Submission, store: LabelStore | None = None) -> Case:
    """Read one label through, and keep it in a store if there is one.

    Raises:
        VolumeError, GridError: the image or the label cannot be read, or they lie apart.
    """
    image, label = load(submission)
    kept = store.keep(label) if store else None
    return replace(_case_of(submission, image, label), kept=kept)


def _case_of(submission: Submission, image: Volume, label: np.ndarray) -> Case:
    structures = {}
    for name, value in named_values(submission.names, label).items():
        mask = label == value
        axis = painted_axis(mask, default_axis(image))
        view = SliceView(image.shape, image.affine, axis)
        areas = np.count_nonzero(view.to_stack(mask), axis=(1, 2))
        vouched = submission.vouched.get(name)
        stack_slices = None if vouched is None else [view.stack_index(s) for s in vouched]
        structures[name] = Structure(name, value, axis, areas, known_slices(areas, stack_slices))
    return Case(submission, _digest(image, label, structures), structures)


def load(submission: Submission) -> tuple[Volume, np.ndarray]:
    """The image, and the label on its grid, integers (I, J, K)."""
    image = read_volume(submission.image)
    return image, label_on_grid(read_label(submission.label), image)


def _digest(image: Volume, label: np.ndarray, structures: dict[str, Structure]) -> str:
    content = hashlib.sha256(repr((label.shape, image.affine.round(4).tolist())).encode())
    for name, one in sorted(structures.items()):
        content.update(repr((name, one.value, one.axis)).encode() + one.known.tobytes())
    content.update(np.ascontiguousarray(label, dtype=np.uint32).tobytes())
    return content.hexdigest()[:16]


def known_slices(areas: np.ndarray, vouched: Sequence[int] | None = None) -> np.ndarray:
    """On which slices a label tells where a structure is, and where it is not.

    Args:
        areas: pixels of the structure on each slice (S,).
        vouched: slices (of the stack) that the user answers for.

    Returns:
        bool (S,). Slices with the structure always count. Of the others those that are vouched for; when that is not
        said, all of them if the label was drawn through (LEAST_RUN slices side by side, everywhere), but none past an
        end at which the structure is still CUT_OFF of its largest area: there somebody stopped painting.
    """
    present = areas > 0
    known = present.copy()
    if vouched is not None:
        known[[s for s in vouched if 0 <= s < len(areas)]] = True
        return known
    slices = np.flatnonzero(present)
    runs = np.split(slices, np.flatnonzero(np.diff(slices) > 1) + 1)
    if len(slices) == 0 or min(len(run) for run in runs) < LEAST_RUN:
        return known
    first, last, largest = slices[0], slices[-1], areas.max()
    known[first:last] = True
    known[:first] = areas[first] < CUT_OFF * largest
    known[last + 1 :] = areas[last] < CUT_OFF * largest
    return known


class CaseLoader:
    """Loads images and labels, keeping the last few."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[Volume, np.ndarray]] = OrderedDict()

    def __call__(self, case: Case) -> tuple[Volume, np.ndarray]:
        """The image, and the label on its grid, integers (I, J, K)."""
        loaded = self._kept.pop(_identity(case), None) or _load_again(case)
        self._keep(case, loaded)
        return loaded

    def read(self, submission: Submission) -> Case:
        """Read one label through and keep it.

        Raises:
            VolumeError, GridError: the image or the label cannot be read, or they lie apart.
        """
        loaded = load(submission)
        case = _case_of(submission, *loaded)
        self._keep(case, loaded)
        return case

    def _keep(self, case: Case, loaded: tuple[Volume, np.ndarray]) -> None:
        self._kept[_identity(case)] = loaded
        if len(self._kept) > KEPT_VOLUMES:
            self._kept.popitem(last=False)


def _load_again(case: Case) -> tuple[Volume, np.ndarray]:
    """The image, and the label that the case was made of as far as it was kept.

    Raises:
        VolumeError, GridError: the image or the label cannot be read (any more), or they lie apart.
    """
    if case.kept is None:
        return load(case.submission)
    image, label = read_volume(case.submission.image), case.kept.read()
    if image.shape != label.shape:
        raise GridError(
            f"The image {case.image_id} was replaced by one of another shape while its label was learnt from: "
            "train again."
        )
    return image, label


def _identity(case: Case) -> tuple[str, str]:
    """Of image and label: images of one grid, such as two MR contrasts, may have the very same label."""
    return case.image_id, case.digest
