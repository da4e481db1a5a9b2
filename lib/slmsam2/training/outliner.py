"""Training of the network that draws outlines from marks, on slices of synthetic volumes and label maps."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Generator, Tensor, nn

from slmsam2.errors import CheckpointError, ConfigurationError
from slmsam2.files import write_whole
from slmsam2.modeling.outliner import SIDE, Outliner, read_outliner, seen_at_last
from slmsam2.normalisation import grey_of
from slmsam2.synthesis import AnatomySettings, LabelMaps, joined, mapped_clips, synthetic_clips
from slmsam2.training.hints import first_hints, with_click
from slmsam2.training.interruption import read_state
from slmsam2.training.losses import soft_dice_loss
from slmsam2.training.schedule import learning_rate

Report = Callable[[int, dict[str, float]], None]
GROUP = 2  # slices that are marked alike
SHOWN = ("seed", "slices", "mapped", "anatomy", "marks", "clicks")  # settings that decide what is seen


class OutlinerTrainer:
    """Trains an :class:`Outliner`: marks as an annotator gives them, then clicks where its mask is wrong.

    A step's slices are marked in groups, so that each step sees all kinds of marks and masks at all stages: the
    normalisation over a batch must not tell them apart, as a single slice comes without others.

    What a step sees depends on the seed and the step's number only, so a run that is stopped and resumed goes on with
    the very slices it would have seen.

    Args:
        config: settings as in ``model/configs/outliner.yaml``.
        device: where it trains and slices are made.

    Raises:
        ConfigurationError: settings of something else.
    """

    def __init__(self, config: DictConfig, device: torch.device) -> None:
        if "mapped" not in config:
            raise ConfigurationError(
                "The configuration does not say how many slices are cut from label maps (mapped): take one like "
                "outliner.yaml."
            )
        self.config, self.device = config, device
        self._maps = LabelMaps(Path(config.label_maps), device) if config.mapped else None
        self._anatomy = AnatomySettings(**config.get("anatomy", {}))
        torch.manual_seed(config.seed)
        begun = read_outliner(Path(config.start)) if config.get("start") else Outliner()
        self._begun = copy.deepcopy(begun.state_dict())
        self.model = begun.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.model).eval()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.seconds = 0.0  # spent in steps so far, over all starts

    def run(self, report: Report, until: Callable[[], bool] = lambda: False) -> None:
        """Train to the last step, or until ``until()`` is true; ``report`` gets each step's losses."""
        while self.step < self.config.steps and not until():
            start = time.perf_counter()
            losses = self.train_step()
            self.seconds += time.perf_counter() - start
            report(self.step - 1, losses)

    def train_step(self) -> dict[str, float]:
        """One optimiser step. Returns the losses and the learning rate."""
        seed = self.config.seed * 1_000_003 + self.step
        generator = torch.Generator(self.device).manual_seed(seed)
        images, masks = self._draw(generator)
        rate = learning_rate(self.config, self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seen = torch.cat(
            [
                self._seen(some, of_some, generator)
                for some, of_some in zip(images.split(GROUP), masks.split(GROUP), strict=True)
            ]
        )
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.model(seen)
        dice = soft_dice_loss(logits, masks.float()).mean()
        edge = F.binary_cross_entropy_with_logits(logits, masks.float())
        self.optimizer.zero_grad(set_to_none=True)
        (dice + edge).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_gradient)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return {"dice": float(dice.detach()), "edge": float(edge.detach()), "learning_rate": rate}

    def result(self) -> Outliner:
        """The running mean of the weights, with a share ``kept`` of those that the run began with."""
        network, share = copy.deepcopy(self.average), self.config.get("kept", 0.0)
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                weight.lerp_(self._begun[name].to(weight), share)
        return network

    def _draw(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images, float32 (B, SIDE, SIDE), 0 to 1, and what is to be outlined, bool."""
        mapped = self.config.mapped
        parts = [synthetic_clips(self.config.slices - mapped, 1, SIDE, generator, settings=self._anatomy)]
        if self._maps is not None:
            parts.append(mapped_clips(mapped, 1, SIDE, generator, self._maps, settings=self._anatomy))
        clip = joined(parts)
        order = torch.randperm(self.config.slices, generator=generator, device=self.device)
        frames, masks = clip.frames[order, 0], clip.masks[order, 0, 0]
        return grey_of(frames), masks

    @torch.no_grad()
    def _seen(self, images: Tensor, masks: Tensor, generator: Generator) -> Tensor:
        """A group with its first marks, and with some clicks more where the mask found so far is wrong."""
        hints = first_hints(self.config.marks, images, masks, generator)
        clicks = torch.randint(0, self.config.clicks + 1, (1,), generator=generator, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            for _ in range(int(clicks)):
                found = self.average(seen_at_last(self.average, images, hints))
                hints = with_click(hints, found > 0, masks, generator)
            return seen_at_last(self.average, images, hints)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        state = self.model.state_dict()
        for name, kept in self.average.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(state[name], 1 - decay)

    def save(self, path: Path) -> None:
        """Write everything that resuming needs, in one piece."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "steps": self.config.steps,
            "shown": self._shown(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        write_whole(path, lambda stream: torch.save(state, stream))

    def resume(self, path: Path) -> None:
        """Go on from a file of :meth:`save`.

        Raises:
            CheckpointError: the file is damaged, or was made for another number of steps, or for slices made or marked
                otherwise. Files that do not say what was seen are taken.
        """
        state = read_state(path, ("step", "seconds", "steps", "model", "average", "optimizer"))
        if state["steps"] != self.config.steps:
            raise CheckpointError(f"{path} belongs to a run of other length; choose another output folder.")
        shown = self._shown()
        changed = [name for name, value in state.get("shown", shown).items() if value != shown.get(name)]
        if changed:
            raise CheckpointError(
                f"{path} belongs to a run with other settings for {', '.join(changed)}; choose another output folder."
            )
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _shown(self) -> dict[str, Any]:
        """The settings that decide which slices are seen, and with which marks."""
        config: dict[str, Any] = OmegaConf.to_container(self.config, resolve=True)  # type: ignore[assignment]
        return {name: config.get(name) for name in SHOWN}
