"""The steps of a training on users' labels, with the validations on the way, within the time there is."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from torch import Tensor

from slmsam2.errors import CheckpointError, RunCancelledError
from slmsam2.modeling import SLMSAM2
from slmsam2.training.finetune import FineTuner, save_state
from slmsam2.training.interruption import read_state

logger = logging.getLogger(__name__)

SAVE_SECONDS = 20.0  # between saved states
SPARE = 1.2  # time kept for what is left after the steps, of what it took before
TIMED_STEPS = 10  # after as many it is seen anew how many steps there is time for
Dices = Sequence[float]


@dataclass
class Record:
    """What a training has found out so far, beside the weights it is at.

    Attributes:
        before: Dice of each task with the weights in use.
        after: with the best ones so far.
        best: these weights.
        guards_before, guards_after: the same of the guards.
        judging: seconds that a validation takes.
        preparing: of which for what is prepared.
    """

    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    best: list[Tensor] | None = None
    guards_before: list[float] = field(default_factory=list)
    guards_after: list[float] = field(default_factory=list)
    judging: float = 0.0
    preparing: float = 0.0


class Judged(Protocol):
    """Something to judge by; ``name`` says which Dice are averaged when they are shown."""

    @property
    def name(self) -> str:
        """For instance the structure's."""


class Watcher(Protocol):
    """Who is told: :class:`slmsam2.training.progress.Progress`, or another."""

    def losses(self, step: int, steps: int, losses: dict[str, float], seconds_left: float) -> None:
        """After each step; ``seconds_left`` for the others, no more than the time there is."""

    def evaluation(self, step: int, structures: dict[str, float], mean: float, best: float) -> None:
        """After a validation."""


class TrainingLoop:
    """Takes the tuner through its steps.

    Args:
        tuner: with the network and the clips.
        tasks: what to judge by; the best weights count. Without any, the last ones.
        state: file to keep the state in, and to go on from when it is there and can be used.
        seconds: time there is; the steps, and with them the fall of the learning rates, are fitted into it again and
            again, since a machine may become busier.
        progress: told of all; None in processes other than the first.
        measure: Dice of a task with a network.
        interrupted: asked after each step; once true, the state is kept and the run ends.
        guards: tasks that have no part in the mean, but must not get worse.
        guards_before: their Dice to compare with; empty: with the weights it starts from.
        prepare: learns what is learnt without steps, and gives it to the network: called before weights are judged,
            those it starts from as well.
        breathe: called between steps, and between propagations that are judged: the moments to see to anything else.
        usable: whether weights may come into use, from the Dice of the tasks before and after and of the guards before
            and after; others are the best only as long as there are none that may.
        begin_anew: whether a state that cannot be used is left behind, with a warning.

    Raises:
        CheckpointError: it cannot be used.
    """

    def __init__(
        self,
        tuner: FineTuner,
        tasks: Sequence[Judged],
        state: Path,
        seconds: float,
        progress: Watcher | None,
        *,
        measure: Callable[[Any, SLMSAM2], float],
        interrupted: Callable[[], bool] = lambda: False,
        guards: Sequence[Judged] = (),
        guards_before: Sequence[float] = (),
        prepare: Callable[[SLMSAM2], None] | None = None,
        breathe: Callable[[], Any] = lambda: None,
        usable: Callable[[Dices, Dices, Dices, Dices], bool] = lambda *dices: True,
        begin_anew: bool = False,
    ):
        self.tuner, self.tasks, self.workers = tuner, tasks, tuner.workers
        self._state, self._progress = state, progress
        self._deadline = time.monotonic() + seconds
        self._measure = measure
        self._interrupted, self._prepare, self._breathe = interrupted, prepare, breathe
        self._guards, self._guards_before, self._usable = guards, guards_before, usable
        self._begin_anew = begin_anew
        self._planned = tuner.steps
        self.record = self._resumed()

    def run(self) -> Record:
        """Train to the last step or to the end of the time; the network is left with the best weights, prepared.

        Raises:
            RunCancelledError: it was interrupted.
        """
        tuner, record = self.tuner, self.record
        if not record.before:
            begin = time.monotonic()
            self._prepared(tuner.network)
            record.before = self._dice(tuner.network, self.tasks)
            record.guards_before = list(self._guards_before) or self._dice(tuner.network, self._guards)
            record.judging = time.monotonic() - begin
        first, spent, saved = tuner.step, 0.0, time.monotonic()
        while tuner.step < tuner.steps:
            self._breathe()
            started = time.monotonic()
            losses = tuner.train_step()
            if self._progress:
                self._progress.losses(tuner.step, tuner.steps, losses, self._left(time.monotonic() - started))
            spent += time.monotonic() - started
            if (tuner.step - first) % TIMED_STEPS == 0:
                self._fit(spent / TIMED_STEPS)
                spent = 0.0
            over = self.workers.agree(time.monotonic() > self._deadline - self._kept_for(1))
            judging = over or tuner.step in self._marks()
            if judging:
                self._evaluate()
            if self.workers.first and (judging or time.monotonic() - saved > SAVE_SECONDS):
                self._save()
                saved = time.monotonic()
            if over:
                break
            if self.workers.agree(self._interrupted()):
                self._pause()
        tuner.use(record.best)
        self._prepared(tuner.network)
        return record

    def _pause(self) -> None:
        if self.workers.first:
            self._save()
        raise RunCancelledError(
            f"Interrupted after step {self.tuner.step} of {self.tuner.steps}; the same command goes on from there."
        )

    def _marks(self) -> list[int]:
        """Steps after which to judge; the last one is among them."""
        count = self.tuner.preset.evaluations
        return [round(self.tuner.steps * (number + 1) / count) for number in range(count)]

    def _left(self, seconds_per_step: float) -> float:
        """Seconds for the steps that are left, within the time there is."""
        needed = (self.tuner.steps - self.tuner.step) * seconds_per_step
        return max(0.0, min(needed, self._deadline - time.monotonic()))

    def _fit(self, seconds_per_step: float) -> None:
        """Plan no more steps than there is time for."""
        if math.isinf(self._deadline):
            return
        left = self._deadline - time.monotonic() - self._kept_for(self.tuner.preset.evaluations)
        fitting = self.tuner.step + max(int(left / seconds_per_step), 1)
        before, self.tuner.steps = self.tuner.steps, self.workers.from_first(min(self._planned, fitting))
        if self.tuner.steps != before:
            logger.info("There is time for %d of %d steps", self.tuner.steps, self._planned)

    def _kept_for(self, evaluations: int) -> float:
        """Seconds to keep for so many validations, and for what is prepared once more after the last one."""
        record = self.record
        return SPARE * (evaluations * len(self.tuner.preset.shares) * record.judging + record.preparing)

    def _evaluate(self) -> None:
        if not self.tasks:
            return
        begin, shares = time.monotonic(), self.tuner.preset.shares
        found = max((self._try(share) for share in shares), key=lambda one: self._worth(*one))[0]
        self.record.judging = (time.monotonic() - begin) / len(shares)
        if self._progress:
            by_name: dict[str, list[float]] = {}
            for task, dice in zip(self.tasks, found, strict=True):
                by_name.setdefault(task.name, []).append(dice)
            means = {name: fmean(values) for name, values in by_name.items()}
            self._progress.evaluation(self.tuner.step, means, fmean(found), fmean(self.record.after))

    def _try(self, share: float) -> tuple[list[float], list[float]]:
        """Dice of tasks and guards with the weights so far on the way; kept if they are the best until now."""
        record, weights = self.record, self.tuner.between(share)
        with self.tuner.having(weights) as network:
            self._prepared(network)
            found, guarded = self._dice(network, self.tasks), self._dice(network, self._guards)
        if self._worth(found, guarded) > self._worth(record.after, record.guards_after):
            record.after, record.guards_after, record.best = found, guarded, weights
        means = [f"{fmean(values):.3f}" for values in (found, guarded) if values]
        logger.info("Step %d, share %g: mean Dice %s", self.tuner.step, share, ", guards ".join(means))
        return found, guarded

    def _prepared(self, network: SLMSAM2) -> None:
        if self._prepare and self.workers.first:
            begin = time.monotonic()
            self._prepare(network)
            self.record.preparing = time.monotonic() - begin

    def _worth(self, found: Sequence[float], guarded: Sequence[float]) -> tuple[bool, float]:
        """What weights are compared by: whether they may come into use, then mean Dice."""
        if not found:
            return False, -math.inf
        record = self.record
        return self._usable(record.before, found, record.guards_before, guarded), fmean(found)

    def _dice(self, network: SLMSAM2, tasks: Sequence[Judged]) -> list[float]:
        """Of each task; the first process finds them for all."""
        found = []
        if self.workers.first:
            for task in tasks:
                self._breathe()
                found.append(self._measure(task, network))
        return self.workers.share(found, len(tasks))

    def _resumed(self) -> Record:
        """The record of a training that was ended, with its state in the tuner; a new one without a state to use."""
        if not self._state.is_file():
            return Record()
        try:
            kept = read_state(self._state, ("tuner", "record"))
            record = Record(**kept["record"])
            self.tuner.resume(kept["tuner"])
        except (CheckpointError, KeyError, TypeError, ValueError) as error:
            if not self._begin_anew:
                raise
            logger.warning("A training that was ended begins anew, its state cannot be used: %s", error)
            return Record()
        logger.info("A training that was ended goes on at step %d", self.tuner.step)
        return record

    def _save(self) -> None:
        record = self.record
        save_state(
            self._state,
            {"tuner": self.tuner.state(), "record": vars(record)},
        )
