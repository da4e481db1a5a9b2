"""A clip's way through the network, as in inference, with what the losses need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.network import MemoryBank


@dataclass
class DecoderOutputs:
    """What SAM's mask decoder gave at each of its calls, before the object score gates the masks.

    Attributes:
        masks: per call, logits (B, M, n, n).
        ious: per call, (B, M).
        scores: per call, (B, 1).
    """

    masks: list[Tensor] = field(default_factory=list)
    ious: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)


@contextmanager
def recorded_decoder(model: SLMSAM2) -> Iterator[DecoderOutputs]:
    """Keep the decoder's outputs. A wrong object score blanks SAM 2's masks and would stop them from learning."""
    outputs = DecoderOutputs()

    def keep(_module: torch.nn.Module, _inputs: tuple, output: tuple) -> None:
        masks, ious, _tokens, scores = output
        outputs.masks.append(masks)
        outputs.ious.append(ious)
        outputs.scores.append(scores)

    handle = model.sam_mask_decoder.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()


def run_clip(model: SLMSAM2, frames: Tensor, masks: Tensor) -> DecoderOutputs:
    """Prompt each structure with its mask on slice 0 and propagate to the last slice.

    Args:
        model: the network, in training or eval mode.
        frames: float32 (B, T, 3, N, N).
        masks: bool (B, O, T, N, N); only slice 0 is looked at.

    Returns:
        Outputs for slices 1 to T-1, the B * O structures in one batch.
    """
    batch, slices = frames.shape[:2]
    structures = masks.shape[1]
    encoded = model.forward_image(frames.flatten(0, 1))
    _, feats, pos, sizes = model._prepare_backbone_features(encoded)

    def of_slice(levels: list[Tensor], index: int) -> list[Tensor]:
        """(HW, B*T, C) to (HW, B*O, C) of one slice."""
        cut = (x.unflatten(1, (batch, slices))[:, :, index] for x in levels)
        return [x.repeat_interleave(structures, dim=1) for x in cut]

    bank: MemoryBank = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    with recorded_decoder(model) as outputs:
        for index in range(slices):
            prompt = masks[:, :, 0].flatten(0, 1)[:, None].float() if index == 0 else None
            out = model.track_step(
                frame_idx=index,
                is_init_cond_frame=index == 0,
                current_vision_feats=of_slice(feats, index),
                current_vision_pos_embeds=of_slice(pos, index),
                feat_sizes=sizes,
                point_inputs=None,
                mask_inputs=prompt,
                output_dict=bank,
                num_frames=slices,
                run_mem_encoder=index < slices - 1,
            )
            bank["cond_frame_outputs" if index == 0 else "non_cond_frame_outputs"][index] = out
    # the first call only made the prompted slice's object pointer
    return DecoderOutputs(outputs.masks[1:], outputs.ious[1:], outputs.scores[1:])
