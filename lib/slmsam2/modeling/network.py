"""SLM-SAM 2: SAM 2 with a second, short-term memory (arXiv 2505.01854)."""

from __future__ import annotations

from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor, nn

SliceOutput = dict[str, Any]
MemoryBank = dict[str, dict[int, SliceOutput]]


class SLMSAM2(SAM2Base):
    """SAM 2 whose features are conditioned by two memories, long and short, fused by ConvNeXt blocks.

    ``fused = fuser(short(x) + long(x))``: the long branch is SAM 2's own memory attention; the short branch has
    attention weights of its own and reads only the ``recent_n`` slices just passed, in the direction of travel.

    Args:
        image_encoder, memory_attention, memory_encoder: SAM 2's parts.
        recent_memory_attention: the short branch, shaped like ``memory_attention``.
        recent_memory_fuser: maps (B, C, H, W) to the same shape.
        recent_n: slices that the short branch reads; 1 to ``num_maskmem``.
        fuse_unconditioned: whether a prompted slice without memory passes both branches and the fuser as well, as
            in published SLM-SAM 2 weights. False for weights that start from SAM 2, whose decoder expects such a
            slice unfused.
        last_mask_prompt: feed the neighbouring slice's mask logits to SAM's prompt encoder as a dense mask prompt.
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
        **sam2: Any,
    ) -> None:
        super().__init__(image_encoder, memory_attention, memory_encoder, **sam2)
        self.recent_memory_attention = recent_memory_attention
        self.recent_memory_fuser = recent_memory_fuser
        self.recent_n = recent_n
        self.fuse_unconditioned = fuse_unconditioned
        self.last_mask_prompt = last_mask_prompt
        self.info: dict[str, Any] = {}

    @property
    def memory_reach(self) -> int:
        """Slices behind the current one beyond which no memory is read any more."""
        return max(self.num_maskmem, self.max_obj_ptrs_in_encoder, self.recent_n)

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
        step = 1 if track_in_reverse else -1
        recent = self._recent_outputs(frame_idx, step, output_dict)
        short = self._read_recent(recent, current_vision_feats[-1], current_vision_pos_embeds[-1], num_frames)
        fused = self.recent_memory_fuser(short.permute(1, 2, 0).view_as(long) + long)
        if self.last_mask_prompt:
            fused = fused + self._embed_last_mask(_find(output_dict, frame_idx + step), fused)
        return fused

    def _recent_outputs(self, frame_idx: int, step: int, bank: MemoryBank) -> list[tuple[int, SliceOutput]]:
        """The outputs of up to ``recent_n`` slices just passed, as (distance in slices, output)."""
        found = ((d, _find(bank, frame_idx + step * d)) for d in range(1, self.recent_n + 1))
        return [(d, out) for d, out in found if out is not None]

    def _read_recent(
        self, recent: list[tuple[int, SliceOutput]], feats: Tensor, pos: Tensor, num_slices: int
    ) -> Tensor:
        """Attend from ``feats`` (HW, B, C) to the recent slices' memories. Returns (HW, B, C)."""
        if not recent:
            return feats + self.no_mem_embed
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

    def _embed_last_mask(self, last: SliceOutput | None, fused: Tensor) -> Tensor:
        """SAM's dense mask prompt for the neighbouring slice's mask logits, relative to "no mask"; (B, C, H, W).

        The decoder adds its dense prompt to the features, so adding it here is the same as prompting with the mask.
        """
        if last is None:
            return torch.zeros_like(fused)
        logits = last["pred_masks"].to(fused.device).clamp(-10.0, 10.0)
        embedding = self.sam_prompt_encoder.mask_downscaling(logits)
        return embedding - self.sam_prompt_encoder.no_mask_embed.weight[..., None, None]

    def _track_step(self, *args: Any, **kwargs: Any) -> tuple:
        """SAM 2's step, keeping in the slice's output what it would drop: ``iou`` (B,) of the chosen mask."""
        current_out, sam_outputs, high_res_features, pix_feat = super()._track_step(*args, **kwargs)
        current_out["iou"] = sam_outputs[2].amax(dim=-1)
        return current_out, sam_outputs, high_res_features, pix_feat


def _find(bank: MemoryBank, index: int) -> SliceOutput | None:
    """The output of slice ``index``, prompted or propagated, if it is kept."""
    return bank["cond_frame_outputs"].get(index) or bank["non_cond_frame_outputs"].get(index)
