"""A list of volumes propagated, shared out among processes, and continued after an interruption."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from slmsam2.devices import usable_device
from slmsam2.engine.progress import Progress
from slmsam2.errors import ConfigurationError
from slmsam2.files import write_json, write_whole
from slmsam2.modeling import SLMSAM2
from slmsam2.paper.layout import Entry
from slmsam2.paper.prediction import (
    Wanted,
    largest_slice_prompts,
    object_dice,
    predict,
    prompts_of,
    write_result,
)
from slmsam2.paper.sources import stamp_of
from slmsam2.paper.volumes import read_stack
from slmsam2.volume import Window

T = TypeVar("T")
FACTS, TABLE = ".facts", "dice.csv"
LONGEST = timedelta(days=30)  # that a process waits for the others


@dataclass(frozen=True)
class Share:
    """This process among those that torchrun started; they work on volumes of their own and need not talk till the end.

    Attributes:
        rank, count: number of this process, and of all.
        device: where it computes; a GPU of its own.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Share:
        """From torchrun's environment.

        Raises:
            ConfigurationError: no such device.
        """
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        own = usable_device(chosen)
        if own.type == "cuda" and own.index is None:
            own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), own)

    def of(self, things: Sequence[T]) -> Sequence[T]:
        """This process's part."""
        return things[self.rank :: self.count]

    def wait(self) -> None:
        """Until the others have done their parts, too: torchrun ends them all when one ends with an error."""
        if self.count > 1 and dist.is_torchelastic_launched():
            dist.init_process_group("gloo", timeout=LONGEST)
            dist.barrier()
            dist.destroy_process_group()


class Inference:
    """Propagates volumes into a folder of results.

    Args:
        network: in eval mode.
        weights: the file its weights are from.
        output: folder for the results; what is there from the same weights and settings stays.
        wanted: volume -> what prompts it; None: each object where it is largest.
        recent_n: slices the short-term memory reads; None: the network's own.
        window: intensities to show of images that are no 8-bit pictures; None: chosen.

    Raises:
        ConfigurationError: the folder holds results of other weights or settings.
    """

    def __init__(
        self,
        network: SLMSAM2,
        weights: Path,
        output: Path,
        wanted: dict[str, Wanted] | None,
        *,
        recent_n: int | None = None,
        window: Window | None = None,
    ):
        self._network, self._output, self._wanted = network, output, wanted
        self._recent_n, self._window = recent_n, window
        self._settings = self._checked_settings(weights)

    def _checked_settings(self, weights: Path) -> dict[str, Any]:
        path = self._output / FACTS / "_run.json"
        with weights.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        settings = {
            "model": self._network.info["model"],
            "weights": digest,
            "recent_n": self._recent_n or self._network.recent_n,
            "window": None if self._window is None else [self._window.level, self._window.width],
        }
        known = _content(path)
        if known is None:
            write_json(path, settings)
        elif known != settings:
            raise ConfigurationError(
                f"'{self._output}' holds results of other weights or settings: choose another --output_folder."
            )
        return settings

    def left(self, entries: Sequence[Entry]) -> list[Entry]:
        """The volumes that have no result yet, or one of another prompt, or of files that have changed since."""
        return [entry for entry in entries if not self._is_done(entry)]

    def _is_done(self, entry: Entry) -> bool:
        return self._facts(entry) is not None

    def volume(self, entry: Entry, progress: Progress | None = None) -> None:
        """Propagate one volume, and write the result and its facts.

        Raises:
            VolumeError, PromptError: it cannot be read, or nothing prompts it.
        """
        source, stack = stamp_of(entry), read_stack(entry, self._window)
        wanted = largest_slice_prompts(stack) if self._wanted is None else self._wanted[entry.name]
        prompts = prompts_of(stack, wanted)
        found = predict(self._network, stack, prompts, recent_n=self._recent_n, progress=progress)
        self._facts_path(entry).unlink(missing_ok=True)
        written = write_result(self._output, stack, found)
        facts = {
            **self._setting(entry, source),
            "written": [str(path.relative_to(self._output)) for path in written],
            "prompted": {str(one): sorted(masks) for one, masks in prompts.items()},
            "not_prompted": [one for one in stack.ids if one not in prompts] if None in wanted else [],
            "dice": {str(one): value for one, value in (object_dice(found, stack, prompts) or {}).items()},
        }
        write_json(self._facts_path(entry), facts)

    def summary(self, entries: Sequence[Entry]) -> list[str]:
        """Lines for people; once all volumes are done, by whichever process is the last, ``dice.csv``, too."""
        facts = {entry.name: self._facts(entry) for entry in entries}
        done = {name: one for name, one in facts.items() if one is not None}
        if len(done) < len(facts):
            return [f"{len(done)} of {len(facts)} volumes are done"]
        rows = [(name, one, value) for name, each in done.items() for one, value in each["dice"].items()]
        lines = [
            f"{name}: objects {', '.join(map(str, each['not_prompted']))} are on no slice that prompts: left out"
            for name, each in done.items()
            if each["not_prompted"]
        ]
        if rows:
            text = io.StringIO()
            csv.writer(text).writerows([("volume", "object", "dice"), *rows])
            write_whole(self._output / TABLE, lambda stream: stream.write(text.getvalue().encode()))
            lines += [f"{name}, object {one}: Dice {value:.3f}" for name, one, value in rows]
            lines.append(f"mean Dice {fmean(value for *_, value in rows):.4f} of {len(rows)} objects")
        return [*lines, f"{len(done)} volumes in {self._output}"]

    def _wanted_text(self, entry: Entry) -> str:
        return "largest" if self._wanted is None else repr(self._wanted[entry.name])

    def _facts_path(self, entry: Entry) -> Path:
        return self._output / FACTS / f"{entry.name}.json"

    def _setting(self, entry: Entry, source: str) -> dict[str, Any]:
        """What a result is made from: if any of it changes, the result is not that of the volume any more."""
        return {"wanted": self._wanted_text(entry), "source": source, "run": self._settings}

    def _facts(self, entry: Entry) -> dict[str, Any] | None:
        """What is known of a volume's result; None when it is not there, or not what would be written now."""
        facts = _content(self._facts_path(entry))
        setting = self._setting(entry, stamp_of(entry))
        if facts is None or any(facts.get(key) != value for key, value in setting.items()):
            return None
        return facts if all((self._output / name).is_file() for name in facts["written"]) else None


def _content(path: Path) -> dict[str, Any] | None:
    """Of a JSON file; None when it is not there, or cannot be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
