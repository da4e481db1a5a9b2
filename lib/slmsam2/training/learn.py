"""Learning from submitted labels: from the labels to a published version, or to a reason why there is none."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from slmsam2.errors import SlmSam2Error
from slmsam2.files import write_json
from slmsam2.modeling import SLMSAM2, build_model, checkpoint_path, load_config, save_checkpoint
from slmsam2.modeling.build import learnt_folder
from slmsam2.modeling.checkpoint import file_digest
from slmsam2.modeling.speed import has_bfloat16
from slmsam2.training.finetune import PRESETS, FineTuner, Preset
from slmsam2.training.general import SyntheticTask, synthetic_dice
from slmsam2.training.held_back import Task, assign, lessons_and_tasks, propagation_dice
from slmsam2.training.judgement import Verdict, judge
from slmsam2.training.kept_labels import LabelStore
from slmsam2.training.labelled import Case, CaseLoader, Submission, read_cases
from slmsam2.training.lessons import ClipSource, Lesson
from slmsam2.training.looks import learn_looks, uses_looks
from slmsam2.training.loop import Dices, TrainingLoop
from slmsam2.training.messages import broken_off, closing, nothing_to_do, opening
from slmsam2.training.progress import Progress
from slmsam2.training.registry import Registry, Version
from slmsam2.training.workers import Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to learn with.

    Attributes:
        model: its name.
        model_dir: see :func:`slmsam2.modeling.model_directory`.
        preset: "small", "fast" or "full"; None: what suits the model and the device.
        minutes: of training at most; what was reached by then is judged.
        steps: of training; None: by the preset, for the number of new structures.
        breathe: see :class:`slmsam2.training.loop.TrainingLoop`.
    """

    model: str
    model_dir: Path | None = None
    preset: str | None = None
    minutes: float = float("inf")
    steps: int | None = None
    breathe: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class Plan:
    """What a training is about; kept beside its state, so that one that was ended can go on.

    Attributes:
        version: name of the version it is to give.
        parent: the version it starts from; None for the weights that came with the model.
        start: digest of the file with these weights.
        preset, steps: how, and how long.
        labels: image id -> digest of the labels it uses.
    """

    version: str
    parent: str | None
    start: str
    preset: str
    steps: int
    labels: dict[str, str]


def learn(
    submissions: Iterable[Submission], request: Request, workers: Workers | None = None
) -> dict[str, Any]:
    """Train on new and changed labels, and publish the result if it is better.

    A training that was ended before goes on, with the labels it began with; newer ones are for the next.

    Args:
        submissions: all labels there are.
        request: with what.
        workers: this process among those that train together.

    Returns:
        The figures of :class:`slmsam2.training.progress.Progress`, the last ones.

    Raises:
        ConfigurationError: another training is under way, or a setting is wrong.
        CheckpointError: the weights to start from cannot be loaded.
        OSError, RuntimeError, MemoryError: the disk is full, or memory ran short.
    """
    workers = workers or Workers(0, 1, torch.device("cpu"))
    registry = Registry(request.model, request.model_dir)
    if not workers.first:
        return _Learning(submissions, request, registry, workers, None).run()
    with registry.locked():
        registry = Registry(request.model, request.model_dir)
        board = registry.folder / "tensorboard" / time.strftime("%Y%m%d-%H%M%S")
        progress = Progress(stats_path(request.model, request.model_dir), board)
        try:
            return _Learning(submissions, request, registry, workers, progress).run()
        except SlmSam2Error as error:
            progress.finish(str(error))
            raise
        except (OSError, RuntimeError, MemoryError) as error:
            with suppress(OSError):  # the disk may be full
                progress.finish(broken_off(error))
            raise


def stats_path(model: str, model_dir: Path | None) -> Path:
    """The file with the figures of the last training."""
    return learnt_folder(model, model_dir) / "train_stats.json"


class _Learning:
    def __init__(
        self,
        submissions: Iterable[Submission],
        request: Request,
        registry: Registry,
        workers: Workers,
        progress: Progress | None,
    ):
        self.request, self.registry, self.workers, self.progress = request, registry, workers, progress
        self.submissions = list(submissions)
        # before they are read: what is saved meanwhile is for the next training
        self._given = {one.image_id: stamp for one in self.submissions if (stamp := one.stamp) is not None}
        self._begun = time.monotonic()

    def run(self) -> dict[str, Any]:
        with LabelStore(self.registry.folder) as store:
            self._tell(f"Reading {len(self.submissions)} submitted labels.")
            return self._learn(*read_cases(self.submissions, store))

    def _learn(self, cases: list[Case], unusable: dict[str, str]) -> dict[str, Any]:
        facts = {"labels": len(cases), "unusable_labels": unusable}
        plan = self._unfinished(cases)
        if plan is not None:
            cases = [case for case in cases if case.image_id in plan.labels]
        held_back = assign(cases, self.registry.held_back, self.registry.seen)
        preset = Preset.read(plan.preset if plan else self._preset_name(), self.request.model_dir)
        lessons, tasks = lessons_and_tasks(cases, held_back, self.registry.seen, preset.tasks)
        fresh = [lesson for lesson in lessons if lesson.fresh]
        reason = nothing_to_do(cases, fresh, tasks, unusable)
        if reason:
            return self._finish(reason, **facts, published=False)
        plan = self.workers.from_first(plan or self._begin(cases, held_back, preset, len(fresh)))
        verdict, tuner = self._train(plan, preset, lessons, tasks)
        figures = {**facts, **_figures(verdict), "published": verdict.publish, "version": plan.version}
        if self.workers.first and verdict.publish:
            self._publish(plan, preset, cases, lessons, verdict, tuner)
        if self.workers.first:
            shutil.rmtree(self.registry.plan_path.parent)
        return self._finish(closing(plan.version, verdict, tuner.step, plan.steps, unusable), **figures)

    def _preset_name(self) -> str:
        """What was asked for, else what suits the model, else the device."""
        config = load_config(self.request.model, self.request.model_dir)
        own = config.get("learning", {}).get("preset", "auto")
        if self.request.preset or own != "auto":
            return self.request.preset or own
        return "full" if self.workers.device.type == "cuda" else "fast"

    def _unfinished(self, cases: Sequence[Case]) -> Plan | None:
        """The plan of a training that was ended, if what it uses is still as it was."""
        path = self.registry.plan_path
        if not path.is_file():
            return None
        try:
            plan = Plan(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            logger.warning(
                "A training that was ended is not gone on with: %s cannot be used: %s", path, error
            )
            return None
        now = {case.image_id: case.digest for case in cases}
        same = plan.labels.items() <= now.items() and plan.preset in PRESETS
        if not same or (plan.parent, plan.start) != self._start():
            logger.info("A training that was ended is not gone on with: its labels or its start have changed")
            return None
        asked = self.request.preset or plan.preset, self.request.steps or plan.steps
        if asked != (plan.preset, plan.steps):
            logger.info(
                "A training that was ended (%s, %d steps) is not gone on with: %s, %d steps are asked for",
                *(plan.preset, plan.steps, *asked),
            )
            return None
        return plan

    def _start(self) -> tuple[str | None, str]:
        """The version in use, None for the weights that came with the model, and the digest of its file."""
        published = self.registry.published
        file = checkpoint_path(self.request.model, self.request.model_dir)
        name = published.version if published else None
        return name, file_digest(file) if file.is_file() else ""  # what is missing is told where it is loaded

    def _begin(self, cases: Sequence[Case], held_back: dict[str, bool], preset: Preset, fresh: int) -> Plan:
        self.registry.held_back = held_back
        parent, start = self._start()
        plan = Plan(
            version=self.registry.next_name,
            parent=parent,
            start=start,
            preset=preset.name,
            steps=self.request.steps or preset.steps(fresh),
            labels={case.image_id: case.digest for case in cases},
        )
        if self.workers.first:
            shutil.rmtree(self.registry.plan_path.parent, ignore_errors=True)
            self.registry.begin(self._given)
            write_json(self.registry.plan_path, asdict(plan))
        return plan

    def _train(
        self, plan: Plan, preset: Preset, lessons: list[Lesson], tasks: list[Task]
    ) -> tuple[Verdict, FineTuner]:
        """Train; the network is left with the best weights that were judged."""
        tuner = self._tuner(plan, preset, lessons)
        self._tell(opening(plan.preset, plan.steps, lessons, len(tasks)))
        seconds = 60 * self.request.minutes - (time.monotonic() - self._begun)
        load = CaseLoader()
        published = self.registry.published
        general_at_first, general_in_use = self._general(preset.synthetic_tasks)
        seen_before = published.structures if published else ()

        def look(network: SLMSAM2) -> None:
            network.looks = learn_looks(lessons, network, load)

        def verdict(before: Dices, after: Dices, guards_before: Dices, guards_after: Dices) -> Verdict:
            return judge(tasks, before, after, seen_before, (guards_before, guards_after), general_in_use)

        record = TrainingLoop(
            tuner,
            tasks,
            self.registry.plan_path.with_name("state.pt"),
            seconds,
            self.progress,
            measure=_Measure(load),
            guards=[SyntheticTask(number) for number in range(preset.synthetic_tasks)],
            guards_before=general_at_first,
            prepare=look if uses_looks(tuner.network) else None,
            breathe=self.request.breathe,
            usable=lambda *dices: verdict(*dices).publish,
            begin_anew=True,
        ).run()
        return verdict(record.before, record.after, record.guards_before, record.guards_after), tuner

    def _tuner(self, plan: Plan, preset: Preset, lessons: list[Lesson]) -> FineTuner:
        """The network with the weights in use, and the clips that it is to be trained on."""
        start = checkpoint_path(self.request.model, self.request.model_dir)
        device = self.workers.device
        network = build_model(
            self.request.model, checkpoint=start, device=device, model_dir=self.request.model_dir
        )
        source = ClipSource(
            lessons,
            network,
            preset.clip,
            encoder_at_rest=not preset.train_encoder,
            seed=_number(plan.version),
        )
        return FineTuner(network, source, preset, plan.steps, self.workers, has_bfloat16(device))

    def _general(self, count: int) -> tuple[list[float], list[float]]:
        """Dice of the synthetic volumes with the weights that came with the model, and with those in use, as far as
        these or the nearest of their forebears know them.

        Compared with the former, many small losses in a row cannot add up, also if trainings without such volumes lie
        between them.
        """
        by_name = {version.version: version for version in self.registry.versions}
        version = self.registry.published
        while version is not None:
            at_first, in_use = version.metrics.get("eval", {}).get("general", [[], []])
            if len(at_first) == len(in_use) == count:
                return at_first, in_use
            version = by_name.pop(version.parent, None) if version.parent else None
        return [], []

    def _publish(
        self,
        plan: Plan,
        preset: Preset,
        cases: Sequence[Case],
        lessons: Sequence[Lesson],
        verdict: Verdict,
        tuner: FineTuner,
    ) -> None:
        version = Version(
            version=plan.version,
            parent=plan.parent,
            created=time.time(),
            labels=plan.labels,
            structures=sorted({name for case in cases for name in case.structures}),
            metrics=_figures(verdict),
            settings={"preset": preset.name, "steps": tuner.step, "device": str(self.workers.device)},
        )
        save_checkpoint(
            self.registry.path(plan.version),
            tuner.network,
            version=plan.version,
            trained={
                "data": "labels submitted by users",
                "volumes": len(plan.labels),
                "looks_of": {lesson.case.image_id: lesson.case.submission.mark for lesson in lessons},
                **asdict(version),
            },
            dtype=torch.float32,
        )
        self.registry.publish(version)

    def _tell(self, message: str) -> None:
        if self.progress:
            self.progress.tell(message)

    def _finish(self, message: str, **figures: Any) -> dict[str, Any]:
        return self.progress.finish(message, **figures) if self.progress else {}


class _Measure:
    """Dice of a task, whichever kind it is."""

    def __init__(self, load: CaseLoader) -> None:
        self._load = load

    def __call__(self, task: Task | SyntheticTask, network: SLMSAM2) -> float:
        if isinstance(task, SyntheticTask):
            return synthetic_dice(task, network)
        return propagation_dice(task, network, self._load)


def _figures(verdict: Verdict) -> dict[str, Any]:
    """For files and clients."""
    return {
        "best_metric": round(max(verdict.before, verdict.after), 4),
        "eval": {
            "before": round(verdict.before, 4),
            "after": round(verdict.after, 4),
            "noise": round(verdict.noise, 4),
            "general": [[round(dice, 4) for dice in part] for part in verdict.general],
            "structures": {
                name: {"before": round(old, 4), "after": round(new, 4)}
                for name, (old, new) in verdict.structures.items()
            },
        },
    }


def _number(version: str) -> int:
    return int(version.rsplit("-", 1)[1])
