"""One object's way through the slices: its memory bank, and a step from slice to slice."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from slmsam2.engine.features import FeatureCache, SliceFeatures
from slmsam2.modeling import SLMSAM2
from slmsam2.modeling.network import MemoryBank, SliceOutput


class ObjectTracker:
    """Propagates one object, slice by slice, with a memory bank that does not grow with the volume.

    Args:
        model: the network in eval mode.
        features: features of the volume's slices.
    """

    def __init__(self, model: SLMSAM2, features: FeatureCache):
        self._model = model
        self._features = features
        self.bank: MemoryBank = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def fork(self) -> ObjectTracker:
        """A tracker that starts from the same prompted slices (shared, not computed again) and nothing else."""
        tracker = ObjectTracker(self._model, self._features)
        tracker.bank["cond_frame_outputs"] = dict(self.bank["cond_frame_outputs"])
        return tracker

    def prompt(self, index: int, mask: np.ndarray) -> SliceOutput:
        """Make slice ``index`` a conditioning slice with a painted mask, bool (h, w) at any resolution."""
        prompt = square_mask(mask, self._model.image_size).to(self._model.device)
        out = self._step(index, mask=prompt, is_prompt=True, reverse=False, encode=False)
        slice_features = self._features[index]
        # As in SAM 2's predictor: the memory of a prompted slice is made from the kept, low-resolution logits.
        high_res = F.interpolate(
            out["pred_masks"], size=prompt.shape[-2:], mode="bilinear", align_corners=False
        )
        memory, pos = self._model._encode_new_memory(
            slice_features.feats,
            slice_features.sizes,
            high_res,
            out["object_score_logits"],
            is_mask_from_pts=True,
        )
        out["maskmem_features"], out["maskmem_pos_enc"] = memory.to(torch.bfloat16), pos
        self.bank["cond_frame_outputs"][index] = out
        return out

    def advance(self, index: int, *, reverse: bool) -> SliceOutput:
        """Propagate to slice ``index``; ``reverse`` when travelling towards lower slice numbers."""
        out = self._step(index, mask=None, is_prompt=False, reverse=reverse, encode=True)
        out["maskmem_features"] = out["maskmem_features"].to(torch.bfloat16)
        self.bank["non_cond_frame_outputs"][index] = out
        return out

    def forget_beyond(self, anchors: Iterable[int]) -> None:
        """Drop the memory of propagated slices that are out of reach of every slice in ``anchors``."""
        reach = self._model.memory_reach
        kept = self.bank["non_cond_frame_outputs"]
        for index in [i for i in kept if all(abs(i - anchor) > reach for anchor in anchors)]:
            del kept[index]

    def _step(
        self, index: int, *, mask: Tensor | None, is_prompt: bool, reverse: bool, encode: bool
    ) -> SliceOutput:
        slice_features: SliceFeatures = self._features[index]
        carried = None
        if not is_prompt:
            carried = self._model.carried_mask(
                index, slice_features.thumbnail, self.bank, track_in_reverse=reverse
            )
        out = self._model.track_step(
            frame_idx=index,
            is_init_cond_frame=is_prompt,
            current_vision_feats=slice_features.feats,
            current_vision_pos_embeds=slice_features.pos,
            feat_sizes=slice_features.sizes,
            point_inputs=None,
            mask_inputs=mask,
            output_dict=self.bank,
            num_frames=len(self._features),
            track_in_reverse=reverse,
            run_mem_encoder=encode,
            prev_sam_mask_logits=carried,
        )
        out["thumbnail"] = slice_features.thumbnail
        out.pop("pred_masks_high_res")
        return out


def is_absent(out: SliceOutput) -> bool:
    """Whether the network found nothing of the object on a slice."""
    return bool(out["object_score_logits"].max() <= 0) or bool(out["pred_masks"].max() <= 0)


def absent_logits(size: int) -> Tensor:
    """Logits (size, size) of a slice without the object."""
    return torch.full((size, size), NO_OBJ_SCORE)


def square_mask(mask: np.ndarray, size: int) -> Tensor:
    """Bring a painted mask, bool (h, w), to the network's size: float32 (1, 1, size, size) of zeros and ones.

    A structure too small to survive the shrinking is kept as its strongest pixel, so that it is never lost.
    """
    original = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
    resized = F.interpolate(original, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    square = (resized >= 0.5).float()
    if mask.any() and not square.any():
        square = (resized == resized.max()).float()
    return square
