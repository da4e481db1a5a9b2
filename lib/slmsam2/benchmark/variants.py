"""What is compared: SAM 2 by its own package, and our networks at each speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch.nn.init import constant_

from slmsam2.modeling import QUALITY, SLMSAM2, build_model, checkpoint_path, load_config
from slmsam2.modeling.build import SAM2_FILES
from slmsam2.modeling.speed import has_bfloat16

PRESENT = 4.0  # object score of random weights, so that every slice is worked on
NEXT_TO_NOTHING = 1e-20  # opens the short branch without an effect on the result


@dataclass(frozen=True)
class Variant:
    """One way to propagate.

    Attributes:
        model: name of one of our configurations.
        image_size: side of the network's input at the speed "quality"; None: the configuration's own.
        sam2: SAM 2 by its package's video predictor, in the place of ours.
        speed: see :mod:`slmsam2.modeling.speed`.
        untrained: the short-term memory is as it starts from SAM 2.1 weights, without effect and not computed.
        half: the image encoder in bfloat16, as at the faster speeds.
        autocast: everything in bfloat16, as far as PyTorch's autocast does it.
    """

    model: str
    image_size: int | None = None
    sam2: bool = False
    speed: str = QUALITY
    untrained: bool = False
    half: bool = False
    autocast: bool = False

    @property
    def label(self) -> str:
        """For tables."""
        differs = [", as downloaded"] * self.untrained + [", encoder in bfloat16"] * self.half
        differs += [", all in bfloat16"] * self.autocast
        if self.sam2:
            name = f"SAM 2.1 {self.model.removeprefix('slm_sam2_')} (sam2 package)"
        else:
            name = f"{self.model}, {self.speed}"
        return f"{name}{''.join(differs)}"


def variants_of(
    models: Sequence[str], sizes: Sequence[int], speeds: Sequence[str], device: torch.device
) -> list[list[Variant]]:
    """Groups to compare; the first of each is its reference: SAM 2 for the Hiera models, else "quality".

    On a GPU all is compared in bfloat16 too, as SAM 2's authors run theirs.
    """
    if device.type != "cpu":
        return _variants_on_gpu(models, sizes, speeds)
    groups = []
    for model in models:
        if model not in SAM2_FILES:
            groups.append([Variant(model, speed=speed) for speed in speeds])
            continue
        for size in sizes:
            ours = [Variant(model, size, speed=speed) for speed in speeds]
            others = [Variant(model, size, untrained=True)] * (QUALITY in speeds)
            if QUALITY in speeds and has_bfloat16(device):
                others.append(Variant(model, size, half=True))
            groups.append([Variant(model, size, sam2=True), *others, *ours])
    return groups


def _variants_on_gpu(
    models: Sequence[str], sizes: Sequence[int], speeds: Sequence[str]
) -> list[list[Variant]]:
    groups = []
    for model in models:
        of_sam2 = model in SAM2_FILES
        for size in sizes if of_sam2 else [None]:
            exact = [Variant(model, size, sam2=True)] * of_sam2
            exact += [Variant(model, size, speed=speed) for speed in speeds]
            pairs = [[one, replace(one, autocast=True)] if one.speed == QUALITY else [one] for one in exact]
            groups.append([one for pair in pairs for one in pair])
    return groups


def build_variant(variant: Variant, folder: Path, device: torch.device) -> SLMSAM2 | SAM2VideoPredictor:
    """The network of a variant on a device, in eval mode and without gradients.

    Args:
        folder: where random weights are kept for networks of which none are downloaded, the same for all variants.
    """
    if variant.sam2:
        return _built_by_sam2(variant, folder).requires_grad_(False).to(device)
    network = _built_by_us(variant, folder, device).requires_grad_(False)
    if variant.half or variant.autocast:
        network.info["encoder"] = "bfloat16"
    return network


def _built_by_sam2(variant: Variant, folder: Path) -> SAM2VideoPredictor:
    weights = _sam2_weights(variant.model, folder)
    predictor = _predictor(variant.model, variant.image_size)
    predictor.load_state_dict(torch.load(weights, weights_only=True)["model"])
    return predictor


def _built_by_us(variant: Variant, folder: Path, device: torch.device) -> SLMSAM2:
    if variant.model not in SAM2_FILES:
        weights = checkpoint_path(variant.model)
        return build_model(variant.model, checkpoint=weights, device=device, speed=variant.speed)
    weights = _sam2_weights(variant.model, folder)
    overrides = {"image_size": variant.image_size} if variant.image_size else None
    network = build_model(
        variant.model, checkpoint=weights, device=device, overrides=overrides, speed=variant.speed
    )
    if not variant.untrained:
        constant_(network.get_parameter("recent_memory_attention.norm.weight"), NEXT_TO_NOTHING)
    return network


def _sam2_weights(model: str, folder: Path) -> Path:
    """SAM 2.1 weights that are downloaded, else random ones that find an object on every slice."""
    path = checkpoint_path(model)
    if path.name == SAM2_FILES[model] and path.is_file():
        return path
    path = folder / SAM2_FILES[model]
    if not path.is_file():
        torch.manual_seed(3)
        predictor = _predictor(model, None)
        *_, bias = predictor.get_submodule("sam_mask_decoder.pred_obj_score_head").parameters()
        constant_(bias, PRESENT)
        torch.save({"model": predictor.state_dict()}, path)
    return path


def _predictor(model: str, image_size: int | None) -> SAM2VideoPredictor:
    """The package's video predictor with weights still to be loaded."""
    settings = OmegaConf.create(OmegaConf.to_container(load_config(model.replace("slm_sam2", "sam2.1"))))
    settings.model._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    settings.model.image_size = image_size or settings.model.image_size
    side = settings.model.image_size // 16
    for attention in ("self_attention", "cross_attention"):
        settings.model.memory_attention.layer[attention].feat_sizes = [side, side]
    return instantiate(settings.model).eval()
