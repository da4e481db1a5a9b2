"""A clip's way through the network, as in inference, with what the losses need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.motion import Motion
from slmsam2.modeling.network import MemoryBank, SliceOutput
from slmsam2.synthesis.noise import uniform
from slmsam2.training.prompts import Points, PromptPlan, first_points, with_correction


@dataclass
class DecoderOutputs:
    """What SAM's mask decoder gave at each of its calls, before the object score gates the masks.

    Attributes:
        masks: per call, logits (N, M, n, n); M differs from call to call.
        ious: per call, (N, M).
        scores: per call, (N, 1).
        slices: per call, the slice it was for.
    """

    masks: list[Tensor] = field(default_factory=list)
    ious: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    slices: list[int] = field(default_factory=list)


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


@dataclass(frozen=True)
class EncodedClips:
    """What the image encoder gives for B clips of T slices.

    Attributes:
        feats, pos: features and positional encodings, per level (HW, B * T, C), finest first.
        sizes: per level (H, W).
        thumbnails: (B * T, 1, n, n), or None when the network does without.
        clips, slices: B and T.
    """

    feats: list[Tensor]
    pos: list[Tensor]
    sizes: list[tuple[int, int]]
    thumbnails: Tensor | None
    clips: int
    slices: int


def encode_clips(model: SLMSAM2, frames: Tensor) -> EncodedClips:
    """Encode the slices of clips, float32 (B, T, 3, N, N)."""
    flat = frames.flatten(0, 1)
    _, feats, pos, sizes = model._prepare_backbone_features(model.forward_image(flat))
    return EncodedClips(feats, pos, sizes, model.thumbnails(flat), *frames.shape[:2])


def run_clip(
    model: SLMSAM2,
    encoded: EncodedClips,
    masks: Tensor,
    plan: PromptPlan | None = None,
    generator: Generator | None = None,
) -> DecoderOutputs:
    """Prompt each structure on slice 0 and propagate to the last slice.

    Args:
        model: the network, in training or eval mode.
        encoded: features of B clips of T slices.
        masks: bool (B, O, T, N, N); only slice 0, and slices that get correction clicks, are looked at.
        plan: what is given; by default slice 0's mask and no clicks.
        generator: draws the clicks.

    Returns:
        Outputs of all calls but the one that only makes a painted slice's object pointer, the B * O structures in
        one batch.
    """
    run = _Run(model, encoded, masks.flatten(0, 1), plan or PromptPlan(), generator)
    with recorded_decoder(model) as outputs:
        for index in range(encoded.slices):
            outputs.slices += [index] * run.advance(index)
    skipped = 1 if run.plan.kind == "mask" else 0
    return DecoderOutputs(*(values[skipped:] for values in vars(outputs).values()))


class _Run:
    """The state of one clip: features, memory, and the prompts that are left to give."""

    def __init__(
        self,
        model: SLMSAM2,
        encoded: EncodedClips,
        masks: Tensor,
        plan: PromptPlan,
        generator: Generator | None,
    ):
        self.model, self.encoded, self.masks, self.plan = model, encoded, masks, plan
        self.generator = generator or Generator(masks.device)
        self.structures = len(masks) // encoded.clips
        self.feats = [self._by_slice(level) for level in encoded.feats]
        self.pos = [self._by_slice(level) for level in encoded.pos]
        self.motions = self._motions() if model.follow_motion else None
        self.bank: MemoryBank = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def advance(self, index: int) -> int:
        """Find the structures on slice ``index``, with the clicks planned for it; returns the decoder's calls."""
        clicks = self.plan.clicks.get(index, 0)
        points, mask, carried = None, None, None
        if index > 0:
            motion = self.motions[index - 1] if self.motions else None
            carried = self.model.carried_mask(index, None, self.bank, motion=motion)
        elif self.plan.kind == "mask":
            mask = self.masks[:, 0, None].float()
        else:
            points = first_points(self.plan.kind, self.masks[:, 0], self.generator)
        out = self._step(index, points, mask, carried, remember=clicks == 0)
        for left in reversed(range(clicks)):
            points = with_correction(points, self._corrected(out), self.masks[:, index], self.generator)
            out = self._step(index, points, None, out["pred_masks"], remember=left == 0)
        prompted = index == 0 or clicks > 0
        self.bank["cond_frame_outputs" if prompted else "non_cond_frame_outputs"][index] = out
        return 1 + clicks

    def _step(
        self,
        index: int,
        points: Points | None,
        mask: Tensor | None,
        last_logits: Tensor | None,
        *,
        remember: bool,
    ) -> SliceOutput:
        return self.model.track_step(
            frame_idx=index,
            is_init_cond_frame=index == 0,
            current_vision_feats=self._of_structures(self.feats, index),
            current_vision_pos_embeds=self._of_structures(self.pos, index),
            feat_sizes=self.encoded.sizes,
            point_inputs=points,
            mask_inputs=mask,
            output_dict=self.bank,
            num_frames=self.encoded.slices,
            run_mem_encoder=remember and index < self.encoded.slices - 1,
            prev_sam_mask_logits=last_logits,
        )

    def _by_slice(self, level: Tensor) -> tuple[Tensor, ...]:
        """(HW, B * T, C) to (HW, B, C) for each slice; cut once, so that gradients are put together once."""
        return level.unflatten(1, (self.encoded.clips, self.encoded.slices)).unbind(2)

    def _of_structures(self, levels: list[tuple[Tensor, ...]], index: int) -> list[Tensor]:
        """What belongs to one slice, (HW, B * O, C) per level."""
        return [level[index].repeat_interleave(self.structures, dim=1) for level in levels]

    def _motions(self) -> list[Motion]:
        """From each slice to the next one, for B * O structures; all of them at once."""
        assert self.encoded.thumbnails is not None
        steps = self.encoded.slices - 1
        if not steps:
            return []
        images = self.encoded.thumbnails.unflatten(0, (self.encoded.clips, steps + 1))
        found = Motion.between(images[:, 1:].flatten(0, 1), images[:, :-1].flatten(0, 1))
        flows, trusts = (
            part.unflatten(0, (self.encoded.clips, steps)).repeat_interleave(self.structures, dim=0).unbind(1)
            for part in (found.flow, found.trust)
        )
        return [Motion(flow, trust) for flow, trust in zip(flows, trusts, strict=True)]

    def _corrected(self, out: SliceOutput) -> Tensor:
        """The mask to correct by a click, bool (N, H, W): the one found, or at times none."""
        found = self._found(out)
        share = self.plan.from_reference
        if share and float(uniform((1,), 0.0, 1.0, self.generator)) < share:
            return torch.zeros_like(found)
        return found

    def _found(self, out: SliceOutput) -> Tensor:
        """The mask found, bool (N, H, W), at the size of the references."""
        size = self.masks.shape[-2:]
        return F.interpolate(out["pred_masks"].detach().float(), size=size, mode="bilinear")[:, 0] > 0
