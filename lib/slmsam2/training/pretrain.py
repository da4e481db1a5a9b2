"""Pre-training on synthetic clips, from scratch or from other weights; resumable to the same result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Generator, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.files import write_whole
from slmsam2.modeling import SLMSAM2, build_model
from slmsam2.synthesis import AnatomySettings, Clip, LabelMaps, joined, mapped_clips, synthetic_clips
from slmsam2.training.clip import encode_clips, run_clip
from slmsam2.training.graphs import GraphedLoss
from slmsam2.training.interruption import read_state
from slmsam2.training.losses import FOCAL_ALPHA, ClipLoss, clip_loss
from slmsam2.training.prompts import PromptPlan, PromptSettings, draw_plan
from slmsam2.training.schedule import learning_rate
from slmsam2.training.workers import Workers

logger = logging.getLogger(__name__)
Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Stage:
    """Part of the curriculum: for ``steps`` steps, ``clips`` clips of ``slices`` slices each, prompted as given.

    ``mapped`` of the clips are cut from label maps, see :mod:`slmsam2.synthesis.label_maps`.
    ``absent_pixels``, ``focal_alpha``, ``presence_weight``: see :func:`slmsam2.training.losses.clip_loss`.
    """

    steps: int
    clips: int
    slices: int
    mapped: int = 0
    absent_pixels: float = 1.0
    focal_alpha: float = FOCAL_ALPHA
    presence_weight: float = 1.0
    anatomy: AnatomySettings = field(default_factory=AnatomySettings)
    prompts: PromptSettings = field(default_factory=PromptSettings)

    @classmethod
    def read(cls, settings: DictConfig) -> Stage:
        """A stage from its configuration."""
        values: dict[str, Any] = OmegaConf.to_container(settings)  # type: ignore[assignment]
        values["prompts"] = PromptSettings(**values.get("prompts", {}))
        values["anatomy"] = AnatomySettings(**values.get("anatomy", {}))
        return cls(**values)


class Pretrainer:
    """Trains an SLM-SAM 2 network on synthetic clips.

    The clips of a step depend only on the seed, the step's number and the worker's, so a run that is stopped and
    resumed goes on with the very clips it would have seen.

    Args:
        config: settings as in ``model/configs/pretrain_nano.yaml``.
        workers: this process, its device (clips are made there too) and its companions, each of which draws as many
            clips per step as the stage says.
        mixed_precision: bfloat16 autocast.
        graphs: on a GPU, steps that start from a painted mask and get no clicks run as a CUDA graph.
    """

    def __init__(
        self,
        config: DictConfig,
        workers: Workers | None = None,
        mixed_precision: bool = True,
        graphs: bool = True,
    ):
        self.stages = [Stage.read(stage) for stage in config.get("stages") or []]
        if not self.stages or config.structures < 1:
            raise ConfigurationError("Pre-training needs at least one stage and one structure per clip.")
        self.config = config
        self.workers = workers or Workers(0, 1, torch.device("cpu"))
        self.device = self.workers.device
        self.mixed_precision = mixed_precision
        self._ahead = _Ahead(self.device) if self.device.type == "cuda" else None
        self._graphs = graphs and self.device.type == "cuda"
        self._graphed: tuple[Stage, GraphedLoss] | None = None
        torch.manual_seed(config.seed)
        self._maps = None
        if any(stage.mapped for stage in self.stages):
            self._maps = LabelMaps(Path(config.label_maps), self.device)
        self.overrides = dict(config.get("overrides", {}))
        self.model = build_model(
            config.model,
            checkpoint=config.get("start"),
            device=str(self.device),
            overrides=self.overrides,
        ).train()
        self.model.looks = {}  # of features that are about to change
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.optimizer = torch.optim.AdamW(_groups(self.model, config.weight_decay), lr=config.learning_rate)
        self.step = 0
        self.seconds = 0.0  # spent in steps so far, over all starts

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @property
    def data(self) -> str:
        """What is trained on, for people."""
        if self._maps is None:
            return "synthetic volumes only"
        sources = self.config.get("label_maps_from", "sources not stated")
        images = "synthetic and real images" if self._maps.pictured else "synthetic images"
        return f"{images} of label maps ({sources}), synthetic ones of shapes"

    def run(self, report: Report, until: Callable[[], bool] = lambda: False) -> None:
        """Train to the last step, or until ``until()`` is true; ``report`` gets each step's losses."""
        while self.step < self.total_steps and not self.workers.agree(until()):
            start = time.perf_counter()
            losses = self.train_step()
            self.seconds += time.perf_counter() - start
            report(self.step - 1, losses)

    def train_step(self) -> dict[str, float]:
        """One optimiser step. Returns the losses and the learning rate."""
        drawn = self._ahead.take(self.step) if self._ahead else None
        clip, generator = drawn or self._draw(self.step)
        rate = learning_rate(self.config, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradients(clip, self._stage(self.step), generator)
        self.workers.mean_gradients(self.model.parameters())
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_gradient)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        if self._ahead and self.step < self.total_steps:
            self._ahead.put(self.step, lambda: self._draw(self.step))
        return {name: float(value.detach()) for name, value in vars(loss).items()} | {"learning_rate": rate}

    def _draw(self, step: int) -> tuple[Clip, Generator]:
        """A step's clips, and what its prompts are drawn with."""
        stage = self._stage(step)
        seed = self.config.seed * 1_000_003 + step + self.workers.rank * 1_000_000_007
        generator = torch.Generator(self.device).manual_seed(seed)
        size, given = self.model.image_size, {"structures": self.config.structures, "settings": stage.anatomy}
        parts = []
        if stage.mapped < stage.clips:
            made_up = stage.clips - stage.mapped
            parts.append(synthetic_clips(made_up, stage.slices, size, generator, **given))
        if self._maps is not None and stage.mapped:
            parts.append(mapped_clips(stage.mapped, stage.slices, size, generator, self._maps, **given))
        return joined(parts), generator

    def _gradients(self, clip: Clip, stage: Stage, generator: Generator) -> ClipLoss:
        """A step's losses; the parameters' gradients are theirs."""
        plan = draw_plan(stage.prompts, stage.slices, generator)
        if self._graphs and plan.kind == "mask" and not plan.clicks:
            return self._graph_of(stage, clip, generator)(clip)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(clip, stage, plan, generator)
        loss.total.backward()
        return loss

    def _graph_of(self, stage: Stage, clip: Clip, generator: Generator) -> GraphedLoss:
        """The graph of a stage's plain steps, made when it is wanted first; one at a time: each keeps its memory."""
        if self._graphed is None or self._graphed[0] is not stage:
            self._graphed = None
            self.optimizer.zero_grad(set_to_none=True)
            # the generator draws nothing, but none can be made during a capture
            graph = GraphedLoss(
                lambda clip: self._loss(clip, stage, PromptPlan(), generator),
                clip,
                list(self.model.parameters()),
            )
            self._graphed = stage, graph
        return self._graphed[1]

    def _loss(self, clip: Clip, stage: Stage, plan: PromptPlan, generator: Generator) -> ClipLoss:
        kernels = (
            [SDPBackend.MATH] if self.device.type == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
        )
        with (
            sdpa_kernel(kernels),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision),
        ):
            encoded = encode_clips(self.model, clip.frames)
            outputs = run_clip(self.model, encoded, clip.masks, plan, generator)
        return clip_loss(
            outputs,
            clip.masks.flatten(0, 1),
            absent_pixels=stage.absent_pixels,
            focal_alpha=stage.focal_alpha,
            presence_weight=stage.presence_weight,
        )

    def _stage(self, step: int) -> Stage:
        first = 0
        for stage in self.stages:
            first += stage.steps
            if step < first:
                return stage
        return self.stages[-1]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, list(self.model.parameters()), 1 - decay)

    def averaged_model(self) -> SLMSAM2:
        """A copy of the network with the running mean of the weights, in eval mode on the CPU."""
        model = build_model(self.config.model, overrides=self.overrides)
        model.load_state_dict(self.model.state_dict())
        with torch.no_grad():
            for parameter, kept in zip(model.parameters(), self.average, strict=True):
                parameter.copy_(kept)
        return model

    def save(self, path: Path) -> None:
        """Write everything that resuming needs, in one piece."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "stages": [asdict(stage) for stage in self.stages],
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        write_whole(path, lambda stream: torch.save(state, stream))

    def resume(self, path: Path) -> None:
        """Go on from a file of :meth:`save`.

        Raises:
            CheckpointError: the file is damaged, or was made with other stages.
        """
        state = read_state(path, ("step", "seconds", "stages", "model", "average", "optimizer"))
        if state["stages"] != [asdict(stage) for stage in self.stages]:
            raise CheckpointError(f"{path} belongs to a run with other stages; choose another output folder.")
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.average = [kept.to(self.device) for kept in state["average"]]
        self.optimizer.load_state_dict(state["optimizer"])
        logger.info("resumed %s at step %d", path, self.step)


class _Ahead:
    """Clips of the next step, made on a GPU while it still works on this one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._drawn: tuple[int, tuple[Clip, Generator]] | None = None

    def put(self, step: int, draw: Callable[[], tuple[Clip, Generator]]) -> None:
        """Draw the clips of ``step`` beside what the current stream has to do."""
        with torch.cuda.stream(self._stream):
            self._drawn = step, draw()

    def take(self, step: int) -> tuple[Clip, Generator] | None:
        """The clips of ``step``, when it was they that were drawn."""
        drawn, self._drawn = self._drawn, None
        if drawn is None or drawn[0] != step:
            return None
        now = torch.cuda.current_stream()
        now.wait_stream(self._stream)
        for tensor in vars(drawn[1][0]).values():
            tensor.record_stream(now)
        return drawn[1]


def _groups(model: SLMSAM2, weight_decay: float) -> list[dict]:
    """Parameter groups: no weight decay for biases, norms and embeddings."""
    parameters = list(model.named_parameters())
    plain = [p for name, p in parameters if p.ndim < 2 or "embed" in name or "tpos" in name]
    chosen = {id(p) for p in plain}
    return [
        {"params": [p for _, p in parameters if id(p) not in chosen], "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
