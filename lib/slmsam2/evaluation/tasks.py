"""What is asked: one slice of a structure is painted, the others are to be found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from slmsam2.errors import ConfigurationError, VolumeError
from slmsam2.masks import largest_slice, occupied_slices, only_slice
from slmsam2.prompts import kin_of
from slmsam2.volume import SliceView, Volume, default_axis, read_label_of, read_volume

T = TypeVar("T")
PROMPTS = ("largest", "quarter")
IMAGE, LABEL, NAMES = FILES = ("image.nii.gz", "label.nii.gz", "labels.json")
LEAST_SLICES = 5  # of a structure, when the benchmark names none


@dataclass(frozen=True)
class Benchmark:
    """Which structures of which volumes.

    Attributes:
        folder: holds a folder per volume, with ``image.nii.gz``, ``label.nii.gz`` and ``labels.json`` (name to value).
        structures: volume -> names; an empty list stands for all that are on LEAST_SLICES slices or more.
        references: volume -> who made the reference labels.
    """

    folder: Path
    structures: dict[str, list[str]]
    references: dict[str, str]


@dataclass(frozen=True)
class Task:
    """One structure with one painted slice.

    Attributes:
        volume_name, structure: names.
        prompt: "largest": the slice with the largest area is painted; "quarter": the one at a quarter of the extent.
        image: the volume.
        reference: bool (I, J, K), the whole structure.
        axis: stored axis of the slices.
        slice: stored number of the painted slice.
        labels: integers (I, J, K), all structures of the volume.
        values: name -> value in it.
    """

    volume_name: str
    structure: str
    prompt: str
    image: Volume
    reference: np.ndarray
    axis: int
    slice: int
    labels: np.ndarray
    values: Mapping[str, int]

    @cached_property
    def painted(self) -> np.ndarray:
        """Bool (I, J, K), nothing but the painted slice."""
        return only_slice(self.reference, self.axis, self.slice)

    def label(self, painted: np.ndarray, *, beside_kin: bool = False) -> np.ndarray:
        """What an annotator sends, integers (I, J, K).

        Args:
            painted: bool (I, J, K), of the structure.
            beside_kin: whether the other one of the pair, or the others of the series, are there already, whole.
        """
        label = self._kin.copy() if beside_kin else np.zeros_like(self.labels)
        label[painted] = self.values[self.structure]
        return label

    @cached_property
    def _kin(self) -> np.ndarray:
        """Those of the labels that are like the structure, integers (I, J, K)."""
        alike = kin_of(self.structure, self.values.keys() - {self.structure})
        return np.where(np.isin(self.labels, [self.values[one.name] for one in alike]), self.labels, 0)

    @property
    def view(self) -> SliceView:
        """The volume as a stack of slices."""
        return SliceView(self.image.shape, self.image.affine, self.axis)


def read_benchmark(path: Path, folder: Path) -> Benchmark:
    """A benchmark's file: ``volumes: {name: {structures: [...], references: who made them}}``.

    Raises:
        ConfigurationError: the file cannot be read; or a volume, its label, its names, or a structure is missing.
    """
    try:
        volumes: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["volumes"]
        structures = {name: list(entry.get("structures") or []) for name, entry in volumes.items()}
        references = {name: str(entry.get("references", "not stated")) for name, entry in volumes.items()}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The benchmark {path} cannot be read: {error}") from error
    return _checked(Benchmark(folder, structures, references))


def benchmark_of(name: str | None, folder: Path, benchmarks: Path) -> Benchmark:
    """The benchmark to run.

    Args:
        name: of a file in ``benchmarks``, or a path; None: all structures of all volumes in ``folder``.

    Raises:
        ConfigurationError: see :func:`read_benchmark`.
    """
    if name is None:
        names = sorted(path.parent.name for path in folder.glob(f"*/{NAMES}"))
        return _checked(Benchmark(folder, {name: [] for name in names}, dict.fromkeys(names, "not stated")))
    named = benchmarks / f"{name}.yaml"
    return read_benchmark(named if named.is_file() else Path(name), folder)


def _checked(benchmark: Benchmark) -> Benchmark:
    """The benchmark, once it is known that all its files and structures are there."""
    folder = benchmark.folder
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder '{folder}'. Check the path.")
    if not benchmark.structures:
        raise ConfigurationError(
            f"'{folder}' has no labelled volumes: each is a folder with {', '.join(FILES)} in it."
        )
    lost = [
        f"{name}/{file}"
        for name in benchmark.structures
        for file in FILES
        if not (folder / name / file).is_file()
    ]
    if lost:
        raise ConfigurationError(f"'{folder}' has no {', '.join(lost)}.")
    for name, wanted in benchmark.structures.items():
        unknown = set(wanted) - _values_in(folder / name).keys()
        if unknown:
            raise ConfigurationError(f"{name} has no structure {', '.join(map(repr, sorted(unknown)))}.")
    return benchmark


def _values_in(folder: Path) -> dict[str, int]:
    """Structure -> value, of a volume's labels.json."""
    path = folder / NAMES
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{path}' cannot be read: {error}.") from error
    if not isinstance(values, dict) or not all(type(value) is int for value in values.values()):
        raise ConfigurationError(f"'{path}' must name a number for each structure, such as {{\"liver\": 1}}.")
    return values


def tasks_of(benchmark: Benchmark, volume_name: str, prompts: tuple[str, ...] = PROMPTS) -> Iterator[Task]:
    """The tasks of one volume, structure by structure.

    Raises:
        ConfigurationError: a structure that the volume does not have.
        VolumeError: a file that cannot be read, or a label that does not fit its image.
    """
    folder = benchmark.folder / volume_name
    try:
        image = read_volume(folder / IMAGE)
        labels = read_label_of(folder / LABEL, image)
    except VolumeError as error:
        raise VolumeError(f"{volume_name}: {error}") from error
    values = _values_in(folder)
    axis = default_axis(image)
    for name in benchmark.structures[volume_name] or list(values):
        reference = labels == values.get(name, -1)
        slices = occupied_slices(reference, axis)
        if not slices.size and benchmark.structures[volume_name]:
            raise ConfigurationError(f"{volume_name} has no structure {name!r}.")
        if slices.size < LEAST_SLICES and not benchmark.structures[volume_name]:
            continue
        for prompt in prompts:
            index = largest_slice(reference, axis) if prompt == "largest" else _quarter(slices)
            yield Task(volume_name, name, prompt, image, reference, axis, index, labels, values)


def of_any_task(results: list[T]) -> list[T]:
    """The results of all tasks.

    Raises:
        ConfigurationError: there are none, since there was no task.
    """
    if not results:
        raise ConfigurationError(
            f"No structure of these volumes is on {LEAST_SLICES} slices: name smaller ones in a benchmark."
        )
    return results


def _quarter(slices: np.ndarray) -> int:
    """Of the slices given, the one nearest to a quarter of the way from the first to the last."""
    wanted = slices[0] + 0.25 * (slices[-1] - slices[0])
    return int(slices[np.abs(slices - wanted).argmin()])
