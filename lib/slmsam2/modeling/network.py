"""SLM-SAM 2: SAM 2 with a second, short-term memory (arXiv 2505.01854)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor, nn

from slmsam2.modeling.inference import InferenceSettings
from slmsam2.modeling.moments import Moments
from slmsam2.modeling.motion import Motion, thumbnails

SliceOutput = dict[str, Any]
MemoryBank = dict[str, dict[int, SliceOutput]]
LOGIT_LIMIT = 10.0  # a carried mask is as sure as this at most
MIXED_LIMIT = 6.0  # and this, where it is mixed into what the decoder gives


class SLMSAM2(SAM2Base):
    """SAM 2 whose features are conditioned by two memories, long and short, fused by ConvNeXt blocks.

    ``fused = fuser(short(x) + long(x))``: the long branch is SAM 2's own memory attention; the short branch has
    attention weights of its own and reads only the ``recent_n`` slices just passed, in the direction of travel.

    ``short_branch = False`` turns the short branch off: SAM 2's memory alone, with the long branch in its place.

    ``stride`` is the distance, in slices, of those that are looked at; between them a mask is only carried along with
    the image.

    Args:
        image_encoder, memory_attention, memory_encoder: SAM 2's parts.
        recent_memory_attention: the short branch, shaped like ``memory_attention``.
        recent_memory_fuser: maps (B, C, H, W) to the same shape.
        recent_n: slices that the short branch reads; 1 to ``num_maskmem``.
        fuse_unconditioned: whether a prompted slice without memory passes both branches and the fuser as well, as
            in published SLM-SAM 2 weights. False for weights that start from SAM 2, whose decoder expects such a
            slice unfused.
        last_mask_prompt: feed the neighbouring slice's mask logits to SAM's prompt encoder as a dense mask prompt.
        follow_motion: move those logits along with the image from slice to slice before, and make them less sure
            where the slices do not look alike.
        carried_weight: how much those logits count in the mask, beside what the decoder gives (1); 0 is SAM 2.
        **sam2: all other arguments of ``SAM2Base``.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        memory_attention: nn.Module,
        memory_encoder: nn.Module,
        *,
        recent_memory_attention: nn.Module,
        recent_memory_fuser: nn.Module,
        recent_n: int = 1,
        fuse_unconditioned: bool = True,
        last_mask_prompt: bool = False,
        follow_motion: bool = False,
        carried_weight: float = 0.0,
        **sam2: Any,
    ) -> None:
        super().__init__(image_encoder, memory_attention, memory_encoder, **sam2)
        self.recent_memory_attention = recent_memory_attention
        self.recent_memory_fuser = recent_memory_fuser
        self.recent_n = recent_n
        self.fuse_unconditioned = fuse_unconditioned
        self.last_mask_prompt = last_mask_prompt
        self.follow_motion = follow_motion
        self.carried_weight = carried_weight
        self._carried: Tensor | None = None
        self.sam_mask_decoder.register_forward_hook(self._mix_carried)
        self.short_branch = True
        self.stride = 1
        self._looked_at: tuple[tuple[int, int], ...] = ()
        self._closed = False
        self.info: dict[str, Any] = {}
        self.inference = InferenceSettings()
        self.looks: dict[str, Moments] = {}
        """What structures look like in image features, by name, as learnt from labels."""

    @property
    def memory_reach(self) -> int:
        """Slices behind the current one beyond which no memory is read any more."""
        return max(self.num_maskmem, self.max_obj_ptrs_in_encoder, self.recent_n * self.stride)

    def _prepare_memory_conditioned_features(
        self,
        frame_idx: int,
        is_init_cond_frame: bool,
        current_vision_feats: list[Tensor],
        current_vision_pos_embeds: list[Tensor],
        feat_sizes: list[tuple[int, int]],
        output_dict: MemoryBank,
        num_frames: int,
        track_in_reverse: bool = False,
    ) -> Tensor:
        """Condition the slice's features, each (HW, B, C), on both memories. Returns (B, C, H, W)."""
        long = super()._prepare_memory_conditioned_features(
            frame_idx,
            is_init_cond_frame,
            current_vision_feats,
            current_vision_pos_embeds,
            feat_sizes,
            output_dict,
            num_frames,
            track_in_reverse,
        )
        if is_init_cond_frame:
            return self.recent_memory_fuser(long + long) if self.fuse_unconditioned else long
        if not self.short_branch:
            return self.recent_memory_fuser(long + long)
        step = 1 if track_in_reverse else -1
        recent = self._recent_outputs(frame_idx, step, output_dict)
        short = self._read_recent(recent, current_vision_feats[-1], current_vision_pos_embeds[-1], num_frames)
        return self.recent_memory_fuser(short.permute(1, 2, 0).view_as(long) + long)

    def _recent_outputs(self, frame_idx: int, step: int, bank: MemoryBank) -> list[tuple[int, SliceOutput]]:
        """The outputs of up to ``recent_n`` slices just passed, as (distance in strides, output)."""
        found: dict[int, SliceOutput] = {}
        for offset in range(1, self.recent_n * self.stride + 1):
            out = _find(bank, frame_idx + step * offset)
            if out is not None:
                found.setdefault(-(-offset // self.stride), out)
        return list(found.items())

    def _read_recent(
        self, recent: list[tuple[int, SliceOutput]], feats: Tensor, pos: Tensor, num_slices: int
    ) -> Tensor:
        """Attend from ``feats`` (HW, B, C) to the recent slices' memories. Returns (HW, B, C)."""
        if not recent:
            return feats + self.no_mem_embed
        if self._short_branch_is_closed():
            return torch.zeros_like(feats)
        memory, memory_pos = [], []
        for distance, out in recent:
            tokens = out["maskmem_features"].to(feats.device, non_blocking=True)
            spatial = out["maskmem_pos_enc"][-1].to(feats.device, non_blocking=True)
            memory.append(tokens.flatten(2).permute(2, 0, 1))
            memory_pos.append(spatial.flatten(2).permute(2, 0, 1) + self.maskmem_tpos_enc[distance - 1])
        pointers, pointers_pos = self._pointer_tokens(recent, num_slices)
        return self.recent_memory_attention(
            curr=feats,
            curr_pos=pos,
            memory=torch.cat([*memory, pointers]),
            memory_pos=torch.cat([*memory_pos, pointers_pos]),
            num_obj_ptr_tokens=pointers.shape[0],
        )

    def _short_branch_is_closed(self) -> bool:
        """Whether the short branch gives zeros whatever it reads, as in weights that start from SAM 2.

        While gradients are wanted it is taken to be open, so that they open it.
        """
        if torch.is_grad_enabled():
            return False
        norm = list(self.recent_memory_attention.get_submodule("norm").parameters())
        weights = tuple((part.data_ptr(), part._version) for part in norm)
        if weights != self._looked_at:  # reading them makes a GPU wait: once is enough
            self._looked_at, self._closed = weights, not any(bool(part.any()) for part in norm)
        return self._closed

    def _pointer_tokens(
        self, recent: list[tuple[int, SliceOutput]], num_slices: int
    ) -> tuple[Tensor, Tensor]:
        """Object pointers of the recent slices and their encoding, both (tokens, B, mem_dim).

        As in SAM 2: each pointer of C channels is cut into C / mem_dim tokens; the distance, divided by the largest
        number of pointers minus one, is sine-encoded and projected.
        """
        max_pointers = min(num_slices, self.max_obj_ptrs_in_encoder)
        recent = [(d, out) for d, out in recent if d < max_pointers]
        pointers = torch.stack([out["obj_ptr"] for _, out in recent])  # (n, B, C)
        distances = torch.tensor([d for d, _ in recent], device=pointers.device)
        encoded = get_1d_sine_pe(distances / (max_pointers - 1), dim=self.hidden_dim)
        encoded = self.obj_ptr_tpos_proj(encoded)[:, None].expand(-1, pointers.shape[1], -1)
        parts = self.hidden_dim // self.mem_dim
        tokens = pointers.unflatten(-1, (parts, self.mem_dim)).permute(0, 2, 1, 3).flatten(0, 1)
        return tokens, encoded.repeat_interleave(parts, dim=0)

    def thumbnails(self, frames: Tensor) -> Tensor | None:
        """What carrying a mask wants to know of slices (B, 3, N, N): (B, 1, N / 4, N / 4), or None for nothing."""
        if not self.follow_motion and self.stride == 1:
            return None
        return thumbnails(frames, self.image_size // 4)

    def carried_mask(
        self,
        frame_idx: int,
        thumbnail: Tensor | None,
        bank: MemoryBank,
        *,
        track_in_reverse: bool = False,
        motion: Motion | None = None,
    ) -> Tensor | None:
        """The neighbouring slice's mask logits, to be given to :meth:`track_step` as ``prev_sam_mask_logits``.

        Args:
            thumbnail: of slice ``frame_idx``, (B, 1, n, n); that of its neighbour is looked for in the neighbour's
                output under "thumbnail", among the prompted ones, those looked at and the "carried_outputs".
            motion: from the neighbour to this slice; with it neither thumbnail is needed.

        Returns:
            (B, 1, n, n), or None when the network does without or the neighbour is not known.
        """
        last = _neighbour(frame_idx, bank, track_in_reverse)
        if not self.last_mask_prompt or last is None:
            return None
        if motion is None and thumbnail is not None and self.follow_motion:
            motion = _motion(last, thumbnail)
        return limited(last) if motion is None else motion.carry(limited(last))

    def motion_from_neighbour(
        self, frame_idx: int, thumbnail: Tensor | None, bank: MemoryBank, *, track_in_reverse: bool = False
    ) -> tuple[SliceOutput, Motion]:
        """The neighbouring slice's output, and the motion from it to slice ``frame_idx``.

        For a ``stride`` of more than 1; the neighbour is known.

        Args:
            thumbnail: as for :meth:`carried_mask`.
        """
        last = _neighbour(frame_idx, bank, track_in_reverse)
        assert last is not None
        assert thumbnail is not None
        return last, _motion(last, thumbnail)

    def _track_step(
        self,
        frame_idx: int,
        is_init_cond_frame: bool,
        current_vision_feats: list[Tensor],
        current_vision_pos_embeds: list[Tensor],
        feat_sizes: list[tuple[int, int]],
        point_inputs: dict[str, Tensor] | None,
        mask_inputs: Tensor | None,
        output_dict: MemoryBank,
        num_frames: int,
        track_in_reverse: bool,
        prev_sam_mask_logits: Tensor | None,
    ) -> tuple:
        """SAM 2's step, with two additions.

        A mask carried over from the neighbouring slice may come without clicks, and the overlap that the network
        expects of its mask is kept in the slice's output, as ``iou`` (B,).
        """
        if prev_sam_mask_logits is None or point_inputs is not None:
            tracked = super()._track_step(
                frame_idx,
                is_init_cond_frame,
                current_vision_feats,
                current_vision_pos_embeds,
                feat_sizes,
                point_inputs,
                mask_inputs,
                output_dict,
                num_frames,
                track_in_reverse,
                prev_sam_mask_logits,
            )
        else:
            pix_feat = self._prepare_memory_conditioned_features(
                frame_idx,
                is_init_cond_frame,
                current_vision_feats[-1:],
                current_vision_pos_embeds[-1:],
                feat_sizes[-1:],
                output_dict,
                num_frames,
                track_in_reverse,
            )
            fine = zip(current_vision_feats[:-1], feat_sizes[:-1], strict=True)
            high_res_features = [feats.permute(1, 2, 0).unflatten(-1, size) for feats, size in fine]
            with self._carrying(prev_sam_mask_logits):
                sam_outputs = self._forward_sam_heads(
                    pix_feat,
                    mask_inputs=prev_sam_mask_logits,
                    high_res_features=high_res_features,
                    multimask_output=self._use_multimask(is_init_cond_frame, None),
                )
            tracked = {"point_inputs": None, "mask_inputs": None}, sam_outputs, high_res_features, pix_feat
        current_out, sam_outputs, high_res_features, pix_feat = tracked
        current_out["iou"] = sam_outputs[2].amax(dim=-1)
        return current_out, sam_outputs, high_res_features, pix_feat

    @contextmanager
    def _carrying(self, logits: Tensor) -> Iterator[None]:
        """While open, ``logits`` (B, 1, n, n) are mixed into the decoder's masks."""
        self._carried = logits if self.carried_weight else None
        try:
            yield
        finally:
            self._carried = None

    def _mix_carried(self, _decoder: nn.Module, _inputs: tuple, output: tuple) -> tuple | None:
        """Hook of the mask decoder: its masks (B, M, n, n) become the mean with the carried one.

        Left alone where nothing was carried over: what has vanished may come back.
        """
        if self._carried is None:
            return None
        masks, *others = output
        carried = self._carried.clamp(-MIXED_LIMIT, MIXED_LIMIT).to(masks.dtype)
        weight = self.carried_weight * (carried > 0).flatten(1).any(dim=1).to(masks.dtype).view(-1, 1, 1, 1)
        return (masks + weight * carried) / (1 + weight), *others


def _find(bank: MemoryBank, index: int) -> SliceOutput | None:
    """The output of slice ``index``, prompted or propagated, if it is kept."""
    return bank["cond_frame_outputs"].get(index) or bank["non_cond_frame_outputs"].get(index)


def _neighbour(index: int, bank: MemoryBank, reverse: bool) -> SliceOutput | None:
    """The output of the slice passed just before slice ``index``, looked at or carried, if it is kept."""
    before = index + (1 if reverse else -1)
    return bank.get("carried_outputs", {}).get(before) or _find(bank, before)


def limited(out: SliceOutput) -> Tensor:
    """An output's mask logits (B, 1, n, n), no surer than a painted mask's."""
    return out["pred_masks"].float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


def _motion(out: SliceOutput, thumbnail: Tensor) -> Motion:
    """The motion from a slice that was passed to the slice of ``thumbnail`` (B, 1, n, n)."""
    return Motion.between(thumbnail, out["thumbnail"])
