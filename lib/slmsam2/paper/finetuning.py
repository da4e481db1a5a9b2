"""Fine-tuning on labelled volumes: what a configuration asks for, from the first step to the finished weights."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch.utils.tensorboard import SummaryWriter

from slmsam2.errors import ConfigurationError
from slmsam2.files import write_json
from slmsam2.modeling import (
    SLMSAM2,
    build_model,
    checkpoint_path,
    load_config,
    read_checkpoint,
    save_checkpoint,
)
from slmsam2.paper.clips import VolumeClips
from slmsam2.paper.configuration import Plan
from slmsam2.paper.layout import Entry, entries, names_in, read_list
from slmsam2.paper.prediction import (
    Wanted,
    largest_slice_prompts,
    object_dice,
    predict,
    prompts_of,
    read_prompt_slices,
)
from slmsam2.paper.sources import digest_of
from slmsam2.paper.volumes import StackReader
from slmsam2.training.finetune import FineTuner, parameter_groups
from slmsam2.training.interruption import StopSignal, cut_lines, read_state
from slmsam2.training.loop import Record, TrainingLoop
from slmsam2.training.workers import Workers
from slmsam2.volume import PRESETS, Window, parse_window

logger = logging.getLogger(__name__)

WEIGHTS, STATE, CURVE, SETTINGS = (
    "checkpoints/checkpoint.pt",
    "checkpoints/state.pt",
    "losses.jsonl",
    "run.json",
)
# What may change when a run goes on: it does not change what is computed.
FREE_SETTINGS = ("launcher", "submitit", "trainer.accelerator")


@dataclass(frozen=True)
class ValidationTask:
    """A volume to propagate, and to compare with its masks."""

    entry: Entry
    wanted: Wanted | None

    @property
    def name(self) -> str:
        """The volume's."""
        return self.entry.name


def check(config: DictConfig, model_dir: str | Path | None = None) -> None:
    """Find out whether a run would start, before it is handed to other processes.

    Raises:
        ConfigurationError, CheckpointError: something that is asked for is not there, or cannot be used.
    """
    Plan.read(config)
    listed_entries(config.dataset, "dataset")
    _validation_tasks(config)
    _window(config.dataset.window)
    load_config(config.model.name, model_dir)
    read_checkpoint(_start(config, model_dir))


def _start(config: DictConfig, model_dir: str | Path | None) -> Path:
    """The weights to start from."""
    return Path(config.model.checkpoint or checkpoint_path(config.model.name, model_dir))


class FineTuning:
    """A fine-tuning as its configuration describes it.

    Args:
        config: as composed by :func:`slmsam2.paper.configuration.read_configuration`.
        workers: this process among those that train together.
        model_dir: see :func:`slmsam2.modeling.model_directory`.

    Raises:
        ConfigurationError, CheckpointError: something that is asked for is not there, or cannot be used.
    """

    def __init__(self, config: DictConfig, workers: Workers, model_dir: str | Path | None = None):
        self.config, self.workers = config, workers
        self.plan = Plan.read(config)
        self.folder = Path(config.launcher.experiment_log_dir)
        self.training = listed_entries(config.dataset, "dataset")
        self.tasks = _validation_tasks(config)
        self.read = StackReader(_window(config.dataset.window))
        self.network = self._network(model_dir)
        self.per_step = max(self.plan.recipe.clips, workers.count)
        self.source = VolumeClips(
            self.training,
            self.read,
            self.network,
            self.plan.draw,
            per_step=self.per_step,
            seed=self.plan.seed,
        )
        self.steps = math.ceil(self.plan.epochs * self.source.per_epoch / self.per_step)

    def _network(self, model_dir: str | Path | None) -> SLMSAM2:
        model = self.config.model
        overrides = dict(model.overrides)
        if self.config.scratch.resolution is not None:
            overrides["image_size"] = int(self.config.scratch.resolution)
        network = build_model(
            model.name,
            checkpoint=_start(self.config, model_dir),
            device=self.workers.device,
            overrides=overrides,
            model_dir=model_dir,
        )
        network.info["learning"] = {"rates": self.plan.rates}
        return network

    def describe(self) -> list[str]:
        """What would be done, in lines for people. Every volume is read once.

        Raises:
            ConfigurationError: the folder holds a run with other settings, or on other volumes.
        """
        self._check_unchanged(self._settings())
        objects: dict[int, int] = {}
        slices = 0
        for entry in self.training:
            stack = self.read(entry)
            slices += len(stack.image)
            for one in stack.ids:
                objects[one] = objects.get(one, 0) + 1
        info, recipe = self.network.info, self.plan.recipe
        ids = ", ".join(f"{one} (in {count})" for one, count in sorted(objects.items())) or "none"
        groups = list(parameter_groups(self.network, recipe))
        learning = sum(p.numel() for group in groups for p in group["params"])
        rates = sorted({group["lr"] for group in groups})
        lines = [
            f"model: {info['model']}, weights {info['version']} ({info['weights']}), input {info['image_size']} x "
            f"{info['image_size']}, recent_n {info['recent_n']}",
            f"training: {len(self.training)} volumes, {slices} slices; objects {ids}",
            f"steps: {self.steps} of {self.per_step} clips; {self.plan.epochs} epochs of {self.source.per_epoch} clips",
            f"parameters that learn: {learning:,}, at rates from {rates[0]:g} to {rates[-1]:g}",
            f"processes: {self.workers.count} on {self.workers.device.type}",
            f"validation: {len(self.tasks)} volumes, {recipe.evaluations} times"
            if self.tasks
            else "validation: none, the last weights are kept",
            f"output: {self.folder / WEIGHTS}",
        ]
        state = self.folder / STATE
        if state.is_file():
            step = read_state(state, ("tuner", "record"))["tuner"]["step"]
            lines.append(f"goes on after step {step}")
        return lines

    def run(self) -> Record:
        """Train, or go on where an earlier run stopped, and write the weights.

        Raises:
            RunCancelledError: it was asked to stop (SIGTERM, or a cluster's signal) and has kept its state.
            ConfigurationError: the folder holds a run with other settings, or on other volumes.
        """
        settings = self._settings()
        if not self._check_unchanged(settings) and self.workers.first:
            write_json(self.folder / SETTINGS, settings)
        tuner = FineTuner(
            self.network,
            self.source,
            self.plan.recipe,
            self.steps,
            self.workers,
            mixed_precision=self.plan.mixed_precision,
        )
        log = RunLog(self.folder) if self.workers.first else None
        with StopSignal() as stop:
            loop = TrainingLoop(
                tuner,
                self.tasks,
                self.folder / STATE,
                math.inf,
                log,
                measure=self._dice,
                interrupted=lambda: stop.came,
            )
            if log is not None:
                log.begin(tuner.step)
            try:
                record = loop.run()
            finally:
                if log is not None:
                    log.close()
        if self.workers.first:
            self._publish(record, tuner.step)
        return record

    def _dice(self, task: ValidationTask, network: SLMSAM2) -> float:
        """Mean over the objects of a volume; 1 where there is nothing to compare."""
        stack = self.read(task.entry)
        prompts = prompts_of(stack, task.wanted or largest_slice_prompts(stack))
        scores = object_dice(predict(network, stack, prompts), stack, prompts)
        return fmean(scores.values()) if scores else 1.0

    def _settings(self) -> dict[str, Any]:
        """What decides what is computed: a run that goes on must have the same."""
        settings: dict[str, Any] = OmegaConf.to_container(self.config)  # type: ignore[assignment]
        for key in FREE_SETTINGS:
            section, _, name = key.partition(".")
            settings[section].pop(name) if name else settings.pop(section)
        settings["clips_per_step"] = self.per_step
        judged = [task.entry for task in self.tasks]
        for section, found in (("dataset", self.training), ("validation", judged)):
            settings[section]["volumes"] = [[entry.name, digest_of(entry)] for entry in found]
        return settings

    def _check_unchanged(self, settings: dict[str, Any]) -> bool:
        """Whether there is a run to go on with; raises if it is another one."""
        path = self.folder / SETTINGS
        if not (path.is_file() and (self.folder / STATE).is_file()):
            return False
        changed = _differences(json.loads(path.read_text()), settings)
        if changed:
            files = (
                " (a list of volumes, or their files)" if any(".volumes" in one for one in changed) else ""
            )
            raise ConfigurationError(
                f"'{self.folder}' holds a run with another {', '.join(changed)}{files}. Set it back to go on, or "
                "choose another launcher.experiment_log_dir."
            )
        return True

    def _publish(self, record: Record, steps: int) -> None:
        names = [entry.name for entry in self.training]
        trained = {
            "recipe": "published SLM-SAM 2",
            "from": self.network.info["version"],
            "volumes": names,
            "epochs": self.plan.epochs,
            "steps": steps,
            "seed": self.plan.seed,
            "validation": {"before": record.before, "after": record.after},
        }
        version = f"finetuned-{len(names)}-{steps}"
        save_checkpoint(self.folder / WEIGHTS, self.network, version=version, trained=trained)
        logger.info("%s written", self.folder / WEIGHTS)


def listed_entries(section: DictConfig, name: str) -> list[Entry]:
    """The volumes of a section with img_folder, gt_folder and file_list_txt.

    Raises:
        ConfigurationError: a folder is not given or not there, or volumes are missing.
    """
    for key in ("img_folder", "gt_folder"):
        if section[key] is None:
            raise ConfigurationError(f"{name}.{key} is not set: add {name}.{key}=<folder> to the command.")
    images, masks = Path(section.img_folder), Path(section.gt_folder)
    names = read_list(Path(section.file_list_txt)) if section.file_list_txt else names_in(images)
    if not names:
        raise ConfigurationError(f"There are no volumes in '{images}'.")
    return entries(names, images, masks)


def _validation_tasks(config: DictConfig) -> list[ValidationTask]:
    section = config.validation
    if section.file_list_txt is None:
        return []
    wanted = read_prompt_slices(Path(section.mask_prompt_dict)) if section.mask_prompt_dict else {}
    return [ValidationTask(entry, wanted.get(entry.name)) for entry in listed_entries(section, "validation")]


def _window(text: str | None) -> Window | None:
    return parse_window(None, text) if text in PRESETS else parse_window(text, None)


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the settings that differ."""
    changed = []
    for key in sorted(old.keys() | new.keys()):
        one, other = old.get(key), new.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            changed += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            changed.append(prefix + key)
    return changed


class RunLog:
    """The losses of each step as JSON lines, the same for TensorBoard, and lines in the log."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        """Start after ``step`` steps; what an interrupted run wrote beyond them is dropped."""
        path = self._folder / CURVE
        cut_lines(path, step)
        self._lines = path.open("a")
        self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1 if step else None)

    def losses(self, step: int, steps: int, losses: dict[str, float], seconds_left: float) -> None:
        """After a training step, ``step`` of ``steps``."""
        self._lines.write(json.dumps({"step": step, **losses}) + "\n")
        self._lines.flush()
        for name, value in losses.items():
            self._writer.add_scalar(f"loss/{name}", value, step)  # type: ignore[union-attr]
        logger.info("step %d of %d, loss %.3f, %.0f s left", step, steps, losses["total"], seconds_left)

    def evaluation(self, step: int, structures: dict[str, float], mean: float, best: float) -> None:
        """After a validation."""
        for name, value in {**{f"dice/{name}": v for name, v in structures.items()}, "dice": mean}.items():
            self._writer.add_scalar(name, value, step)  # type: ignore[union-attr]
        logger.info("step %d: mean Dice %.3f on the validation volumes, best so far %.3f", step, mean, best)

    def close(self) -> None:
        """End the files."""
        if self._writer is not None:
            self._lines.close()
            self._writer.close()
