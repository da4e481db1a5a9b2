"""Which region of the slices the network looks at, for what was given of a structure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from slmsam2.engine.features import FeatureCache
from slmsam2.engine.regions import Region, region_around, whole_slices
from slmsam2.engine.tracker import ObjectTracker
from slmsam2.engine.workspace import Workspace
from slmsam2.errors import PromptError
from slmsam2.modeling import SLMSAM2
from slmsam2.prompts import Marks, Prompt, extent_of
from slmsam2.volume import Frames, Window


def choose_region(
    network: SLMSAM2,
    stack: np.ndarray,
    window: Window,
    prompts: Mapping[int, Prompt],
    lines: np.ndarray,
    spacing: tuple[float, float],
    earlier: Region | None = None,
    workspace: Workspace | None = None,
) -> Region:
    """The region to look at one structure in: an earlier one, else that around its largest prompt, if all lie in it.

    Args:
        stack: (S, H, W), real numbers.
        window: of intensities, as the network is shown them.
        prompts: {slice: bool (H, W), or marks}.
        lines: bool (H, W), where the structure was given in other planes, on any slice.
        spacing: between rows and between columns, in mm.
        earlier: region of an earlier request.

    Raises:
        PromptError: what was marked lies outside the image.
    """
    margin = network.inference.crop_margin
    extents = {index: extent_of(prompt) for index, prompt in prompts.items()}
    if margin is None:
        return whole_slices(next(iter(extents.values())))
    if earlier is not None and all(map(earlier.holds, (lines, *extents.values()))):
        return earlier
    if not any(_tells_size(prompt) for prompt in prompts.values()):
        for index, prompt in prompts.items():
            extents[index] = extents[index] | _found_alone(network, stack[index], window, prompt, workspace)
    shown = [mask for mask in extents.values() if mask.any()]
    if not shown:
        raise PromptError(
            "What was marked lies outside the image. Click on the structure, or draw a box around it."
        )
    region = region_around([max(shown, key=np.count_nonzero)], spacing, margin)
    shown.append(lines)
    return region if all(map(region.holds, shown)) else region_around(shown, spacing, margin)


def _tells_size(prompt: Prompt) -> bool:
    """Whether a prompt says how large the structure is: clicks alone do not."""
    if isinstance(prompt, Marks):
        return prompt.box is not None or (prompt.base is not None and bool(prompt.base.any()))
    return bool(prompt.any())


@torch.no_grad()
def _found_alone(
    network: SLMSAM2, pixels: np.ndarray, window: Window, prompt: Prompt, workspace: Workspace | None
) -> np.ndarray:
    """The mask, bool (H, W), that the first of some clicks gives on the whole slice (H, W), without any other.

    The others would move the region that is looked at, and with it all that was found.
    """
    if not isinstance(prompt, Marks) or not prompt.says_where:
        return np.zeros(pixels.shape, bool)
    frames = Frames(pixels[None], window, network.image_size)
    features = FeatureCache(network, frames, workspace=workspace)
    logits = ObjectTracker(network, features).look(0, prompt.beginning)
    size = torch.nn.functional.interpolate(logits, pixels.shape, mode="bilinear", align_corners=False)
    return (size[0, 0] > 0).cpu().numpy()
