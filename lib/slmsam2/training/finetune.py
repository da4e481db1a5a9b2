"""Fine-tuning steps on users' labels: which parameters learn how fast, one step, and a state to resume from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.files import write_whole
from slmsam2.modeling import SLMSAM2, load_config
from slmsam2.modeling.checkpoint import SHORT_TERM
from slmsam2.training.clip import EncodedClips, run_clip
from slmsam2.training.lessons import ClipSettings, RealClip
from slmsam2.training.losses import ClipLoss, clip_loss
from slmsam2.training.prompts import PromptSettings
from slmsam2.training.views import DistortionSettings
from slmsam2.training.workers import Workers

ENCODER = (
    "image_encoder.",
    "sam_mask_decoder.conv_s0.",
    "sam_mask_decoder.conv_s1.",
)  # what features come from
LAYER_DECAY = 0.9  # of the learning rate, per block of the image encoder, from the last to the first
CLIP_SETTINGS = ("slices", "structures", "variants", "replay", "past_end", "rehearsal")
FINAL_RATE = 0.1  # of the learning rate, at the end of the cosine


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the steps of a fine-tuning are made.

    See ``model/configs/learn_small.yaml`` for what the settings mean, and :func:`slmsam2.training.losses.clip_loss` for
    ``summed_loss``. ``name`` chooses among the network's learning rates.
    """

    name: str
    train_encoder: bool
    clips: int
    evaluations: int
    absent_pixels: float | None
    focal_alpha: float
    presence_weight: float
    weight_decay: float
    clip_gradient: float
    warmup: int
    average: float
    checkpointing: bool
    summed_loss: bool = False
    shares: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, kw_only=True)
class Preset(Recipe):
    """A way of learning from users' labels: the steps, how many, of which clips, judged on how many tasks.

    ``synthetic_tasks`` of the tasks are synthetic volumes: see :mod:`slmsam2.training.general`.
    """

    clip: ClipSettings
    least_steps: int
    steps_per_structure: int
    most_steps: int
    tasks: int
    synthetic_tasks: int

    @classmethod
    def read(cls, name: str, model_dir: str | Path | None = None) -> Preset:
        """A preset by its name.

        Raises:
            ConfigurationError: there is no such preset, or its file holds what it should not.
        """
        if name not in PRESETS:
            raise ConfigurationError(f"There is no preset {name!r}: choose {', '.join(PRESETS)}.")
        config = load_config(f"learn_{name}", model_dir)
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        steps = values.pop("steps")
        clip = {key: values.pop(key) for key in CLIP_SETTINGS}
        clip["prompts"] = PromptSettings(**values.pop("prompts"))
        clip["distortion"] = DistortionSettings(**values.pop("distortion"))
        values["shares"] = tuple(values["shares"])
        try:
            return cls(
                name=name,
                clip=ClipSettings(**clip),
                least_steps=steps["least"],
                steps_per_structure=steps["per_structure"],
                most_steps=steps["most"],
                **values,
            )
        except TypeError as error:
            raise ConfigurationError(f"The configuration learn_{name} cannot be used: {error}") from error

    def steps(self, structures: int) -> int:
        """Steps for so many new structures."""
        return min(max(self.least_steps, structures * self.steps_per_structure), self.most_steps)


PRESETS = ("small", "fast", "full")


class Clips(Protocol):
    """Where clips come from: :class:`slmsam2.training.lessons.ClipSource`, or another source like it."""

    def draw(self, step: int, number: int) -> RealClip:
        """Clip ``number`` of a step, always the same; its generator's seed is the clip's own."""

    def encode(self, clip: RealClip) -> EncodedClips:
        """The clip's features."""


class FineTuner:
    """Trains a network on clips of users' volumes.

    Args:
        network: trained in place.
        source: draws the clips.
        preset: how.
        steps: in all.
        workers: this process among those that train together; the clips of a step are shared out among them, so that
            any number of them trains the same.
        mixed_precision: bfloat16 autocast.
    """

    def __init__(
        self,
        network: SLMSAM2,
        source: Clips,
        preset: Recipe,
        steps: int,
        workers: Workers,
        mixed_precision: bool = True,
    ):
        self.network, self.source, self.preset, self.steps = network, source, preset, steps
        self.workers, self.mixed_precision = workers, mixed_precision
        self.step = 0
        groups = list(parameter_groups(network, preset))
        self.parameters = [p for group in groups for p in group["params"]]
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        self.average = [p.detach().clone() for p in self.parameters]
        self._start = [p.clone() for p in self.average] if min(preset.shares) < 1 else self.average
        self._rates = [group["lr"] for group in groups]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)

    def train_step(self) -> dict[str, float]:
        """One optimiser step. Returns the losses, means over all workers' clips."""
        self.network.train()
        factor = self._factor()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        own = range(self.workers.rank, max(self.preset.clips, self.workers.count), self.workers.count)
        sums: dict[str, float] = {}
        for number in own:
            clip = self.source.draw(self.step, number)
            with _dropout_of(clip, self.network.device):
                loss = self._loss(clip)
                (loss.total / len(own)).backward()
            for name, value in vars(loss).items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(own)
        self.workers.mean_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, self.preset.clip_gradient)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        self.network.eval()
        return self.workers.mean_values(sums)

    def _loss(self, clip: RealClip) -> ClipLoss:
        preset, device = self.preset, self.network.device
        masks = clip.masks.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.mixed_precision):
            outputs = run_clip(self.network, self._encode(clip), masks, clip.plan, clip.generator)
        return clip_loss(
            outputs,
            masks.flatten(0, 1),
            known=clip.known.to(device),
            absent_pixels=preset.absent_pixels,
            focal_alpha=preset.focal_alpha,
            presence_weight=preset.presence_weight,
            summed=preset.summed_loss,
        )

    def _encode(self, clip: RealClip) -> EncodedClips:
        if not (self.preset.checkpointing and clip.frames is not None):
            return self.source.encode(clip)
        return checkpoint(self.source.encode, clip, use_reentrant=False)  # type: ignore[return-value]

    def _factor(self) -> float:
        """Of the learning rates: linear warm-up, then a cosine down to FINAL_RATE."""
        warm = min(1.0, (self.step + 1) / max(self.preset.warmup, 1))
        falling = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        return warm * (FINAL_RATE + (1 - FINAL_RATE) * falling)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.preset.average, (1 + self.step) / (10 + self.step))
        for kept, parameter in zip(self.average, self.parameters, strict=True):
            kept.lerp_(parameter, 1 - decay)

    def between(self, share: float) -> list[Tensor]:
        """Weights so far on the way from those it started from (0) to their running mean (1).

        Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903.
        """
        if share == 1:
            return [mean.clone() for mean in self.average]
        return [torch.lerp(begin, mean, share) for begin, mean in zip(self._start, self.average, strict=True)]

    @contextmanager
    def having(self, weights: list[Tensor]) -> Iterator[SLMSAM2]:
        """The network with weights of :meth:`between`, for a while."""
        current = [p.detach().clone() for p in self.parameters]
        _fill(self.parameters, weights)
        try:
            yield self.network.eval()
        finally:
            _fill(self.parameters, current)

    def use(self, weights: list[Tensor] | None) -> None:
        """Put weights like ``average`` into the network; None: ``average`` itself. Looks of others are gone."""
        self.network.looks = {}
        _fill(self.parameters, self.average if weights is None else weights)

    def state(self) -> dict[str, Any]:
        """All that resuming needs."""
        return {
            "step": self.step,
            "steps": self.steps,
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`.

        Raises:
            CheckpointError: it is of another network, or of other settings; nothing has changed.
        """
        step, steps, parameters, average = (state[key] for key in ("step", "steps", "parameters", "average"))
        shapes = [one.shape for one in self.parameters]
        if any([one.shape for one in kept] != shapes for kept in (parameters, average)):
            raise CheckpointError("The state is of another network, or of other settings.")
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.steps = step, steps
        _fill(self.parameters, parameters)
        self.average = [t.to(self.network.device) for t in average]


@contextmanager
def _dropout_of(clip: RealClip, device: torch.device) -> Iterator[None]:
    """While open, dropout depends on the clip only, so that a resumed training and any number of workers agree."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(clip.generator.initial_seed())
        yield


@torch.no_grad()
def _fill(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def parameter_groups(network: SLMSAM2, preset: Recipe) -> Iterator[dict[str, Any]]:
    """The parameters that learn, with their rates; biases, norms and embeddings without weight decay.

    While the short branch is new (weights that come from SAM 2), it has a rate of its own: at the others' it would
    stay the plain sum it starts as.
    """
    rates = DictConfig(network.info["learning"]["rates"])
    new = SHORT_TERM if network.info["weights"] == "sam2" else ()
    blocks = len(network.image_encoder.trunk.blocks)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if name.startswith(ENCODER):
            if not preset.train_encoder:
                continue
            rate = rates.encoder * LAYER_DECAY ** _depth(name, blocks)
        else:
            rate = rates.new if name.startswith(new) else rates[preset.name]
        plain = parameter.ndim < 2 or "embed" in name or "tpos" in name
        groups.setdefault((float(rate), plain), []).append(parameter)
    for (rate, plain), parameters in groups.items():
        yield {"params": parameters, "lr": rate, "weight_decay": 0.0 if plain else preset.weight_decay}


def _depth(name: str, blocks: int) -> int:
    """How many blocks of the trunk lie between a parameter of the image encoder and the trunk's end."""
    parts = name.split(".")
    if parts[:3] == ["image_encoder", "trunk", "blocks"]:
        return blocks - 1 - int(parts[3])
    return blocks if parts[:2] == ["image_encoder", "trunk"] else 0


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state in one piece."""
    write_whole(path, lambda stream: torch.save(state, stream))
