"""One object's way through the slices: its memory bank, and a step from slice to slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from slmsam2.engine.appearance import CARRIED_ON, IN_RESULT, Appearance, corrected
from slmsam2.engine.features import FeatureCache, SliceFeatures
from slmsam2.engine.outlines import expected_overlap, outline
from slmsam2.modeling import SLMSAM2, Moments
from slmsam2.modeling.network import LOGIT_LIMIT, MemoryBank, SliceOutput, limited
from slmsam2.prompts import BOX_CORNERS, Marks

PRESENT_SCORE = 10.0  # object score of a slice on which the user marked the structure


class ObjectTracker:
    """Propagates one object, slice by slice, with a memory bank that does not grow with the volume.

    Args:
        model: the network in eval mode.
        features: features of the volume's slices.
        looks: of the object in other volumes, where they were learnt.
        appearances: what the object looks like on sets of prompted slices, for trackers that share them.
    """

    def __init__(
        self,
        model: SLMSAM2,
        features: FeatureCache,
        looks: Moments | None = None,
        appearances: dict[frozenset[int], Appearance] | None = None,
    ):
        self._model = model
        self._features = features
        self.least_overlap: float = model.inference.least_overlap
        """See :func:`found_on`."""
        self._marks_outlined: bool = model.inference.outline_marks
        self._by_appearance: bool = model.inference.appearance
        self._looks = looks
        self._appearances = {} if appearances is None else appearances
        self.bank: MemoryBank = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
            "carried_outputs": {},
        }

    def prompt(self, index: int, mask: np.ndarray) -> SliceOutput:
        """Make slice ``index`` a conditioning slice with a painted mask, bool (h, w) at any resolution."""
        prompt = square_mask(mask, self._model.image_size).to(self._model.device)
        return self._condition(index, self._step(index, mask=prompt, is_prompt=True))

    def mark(self, index: int, marks: Marks, prior: Tensor | None = None) -> SliceOutput:
        """Make slice ``index`` a conditioning slice with clicks, strokes or a box, as the network was trained.

        A network with ``outline_marks`` leaves marks to :func:`slmsam2.engine.outlines.outline`. Else, without a
        mask to correct, the first of box and clicks alone gives one; then all of them correct it.

        Args:
            marks: at any resolution; they say where the structure is, or there is a ``prior``.
            prior: mask logits (n, n) to correct, when the marks come without a painted mask.
        """
        if marks.base is not None:
            prior = mask_logits(square_mask(marks.base, self._model.image_size))[0, 0]
        if self._marks_outlined:
            return self._outlined(index, marks, prior)
        points = self._points(marks)
        out: SliceOutput | None = None
        with self._taken_as_present(marks.says_where):
            if prior is None:
                first = 2 if points["point_labels"][0, 0] == BOX_CORNERS[0] else 1
                part = {key: value[:, :first] for key, value in points.items()}
                out = self._step(index, points=part, is_prompt=True)
                prior = out["pred_masks"][0, 0]
                points = points if points["point_labels"].shape[1] > first else {}
            if points:
                logits = prior.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)[None, None].to(self._model.device)
                out = self._step(index, points=points, carried=logits, is_prompt=True)
        out = cast(SliceOutput, out)
        if marks.says_where:
            out["object_score_logits"] = torch.full_like(out["object_score_logits"], PRESENT_SCORE)
        return self._condition(index, out)

    def look(self, index: int, marks: Marks) -> Tensor:
        """Mask logits (1, 1, n, n) that marks on a slice give, without anything else.

        A network without ``outline_marks`` makes it a conditioning slice.
        """
        if self._marks_outlined:
            return mask_logits(torch.from_numpy(self._outline(index, marks, None))[None, None].float())
        return self.mark(index, marks)["pred_masks"]

    def _outlined(self, index: int, marks: Marks, prior: Tensor | None) -> SliceOutput:
        """:meth:`mark` with an outline of another network, as if it were painted, but less to be relied on."""
        mask = self._outline(index, marks, prior)
        if not mask.any():
            return absent_output(self._model.image_size // 4)
        out = self.prompt(index, mask)
        out["iou"] = torch.full_like(out["iou"], expected_overlap(marks, corrected=prior is not None))
        return out

    def _outline(self, index: int, marks: Marks, prior: Tensor | None) -> np.ndarray:
        """What another network draws, bool (N, N)."""
        grey = self._features.grey(index)
        before = None
        if prior is not None:
            resized = F.interpolate(
                prior[None, None].float(), grey.shape, mode="bilinear", align_corners=False
            )
            before = (resized[0, 0] > 0).cpu().numpy()
        return outline(grey, marks.resized(grey.shape), before)

    def _points(self, marks: Marks) -> dict[str, Tensor]:
        """SAM's point prompts, in pixels of the network's square input."""
        points, labels = marks.points()
        height, width = marks.inside.shape
        size = self._model.image_size
        coords = torch.from_numpy(points) * torch.tensor([size / width, size / height])
        device = self._model.device
        return {
            "point_coords": coords[None].to(device),
            "point_labels": torch.from_numpy(labels)[None].to(device),
        }

    @contextmanager
    def _taken_as_present(self, present: bool) -> Iterator[None]:
        """While open, an object score that says "absent" does not blank the mask: the user says it is there."""
        gated = self._model.pred_obj_scores
        self._model.pred_obj_scores = gated and not present
        try:
            yield
        finally:
            self._model.pred_obj_scores = gated

    def _condition(self, index: int, out: SliceOutput) -> SliceOutput:
        """Put a prompted slice into the memory bank."""
        slice_features = self._features[index]
        size = (self._model.image_size, self._model.image_size)
        # As in SAM 2's predictor: the memory of a prompted slice is made from the kept, low-resolution logits.
        high_res = F.interpolate(out["pred_masks"], size=size, mode="bilinear", align_corners=False)
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
        """Propagate to slice ``index``; ``reverse`` when travelling towards lower slice numbers.

        With ``appearance`` masks are corrected by what the structure looks like on the prompted slices: the one that is
        carried on a little, as that adds up from slice to slice, and the one that is returned more.
        """
        # first: the prompted slice's features may be the last ones that were kept
        appearance = self._appearance_of_prompts() if self._by_appearance else None
        carried = self._model.carried_mask(
            index, self._features[index].thumbnail, self.bank, track_in_reverse=reverse
        )
        out = self._step(index, carried=carried, is_prompt=False, reverse=reverse)
        out["maskmem_features"] = out["maskmem_features"].to(torch.bfloat16)
        self.bank["non_cond_frame_outputs"][index] = out
        if appearance is None:
            return out
        own = out["pred_masks"]
        looks = appearance.of(self._features[index], own.shape[-1])
        out["pred_masks"] = corrected(own, looks, CARRIED_ON)
        return {**out, "pred_masks": corrected(own, looks, IN_RESULT)}

    def _appearance_of_prompts(self) -> Appearance | None:
        """What the structure looks like on the prompted slices; None when it is on none of them."""
        outputs = self.bank["cond_frame_outputs"].items()
        given = {index: out["pred_masks"] for index, out in outputs if (out["pred_masks"] > 0).any()}
        if not given:
            return None
        key = frozenset(given)
        if key not in self._appearances:
            pairs = ((self._features[index], logits) for index, logits in given.items())
            self._appearances[key] = Appearance(pairs, self._looks)
        return self._appearances[key]

    def carry(self, index: int, last: SliceOutput, *, reverse: bool) -> SliceOutput:
        """Go to slice ``index`` without looking at it: masks of its neighbour are moved along with the image.

        For networks whose ``stride`` is more than 1.

        Args:
            last: what was returned for the neighbour.
        """
        thumbnail = self._features.thumbnail(index)
        own, motion = self._model.motion_from_neighbour(index, thumbnail, self.bank, track_in_reverse=reverse)
        told = {key: last[key] for key in ("object_score_logits", "iou")}
        carried_on = motion.carry(limited(own))
        self.bank["carried_outputs"] = {index: {**told, "pred_masks": carried_on, "thumbnail": thumbnail}}
        return {**told, "pred_masks": motion.carry(limited(last))}

    def forget_beyond(self, anchors: Iterable[int]) -> None:
        """Drop the memory of propagated slices that are out of reach of every slice in ``anchors``."""
        reach = self._model.memory_reach
        kept = self.bank["non_cond_frame_outputs"]
        for index in [i for i in kept if all(abs(i - anchor) > reach for anchor in anchors)]:
            del kept[index]

    def _step(
        self,
        index: int,
        *,
        mask: Tensor | None = None,
        points: dict[str, Tensor] | None = None,
        carried: Tensor | None = None,
        is_prompt: bool,
        reverse: bool = False,
    ) -> SliceOutput:
        slice_features: SliceFeatures = self._features[index]
        out = self._model.track_step(
            frame_idx=index,
            is_init_cond_frame=is_prompt,
            current_vision_feats=slice_features.feats,
            current_vision_pos_embeds=slice_features.pos,
            feat_sizes=slice_features.sizes,
            point_inputs=points,
            mask_inputs=mask,
            output_dict=self.bank,
            num_frames=len(self._features),
            track_in_reverse=reverse,
            run_mem_encoder=not is_prompt,
            prev_sam_mask_logits=carried,
        )
        out["thumbnail"] = slice_features.thumbnail
        for unused in ("pred_masks_high_res", "point_inputs", "mask_inputs"):
            out.pop(unused)
        return out


def absent_output(size: int) -> SliceOutput:
    """The output of a slice that the structure is not on by the user's word; logits (1, 1, size, size)."""
    return {
        "pred_masks": absent_logits(size)[None, None],
        "object_score_logits": torch.full((1, 1), -PRESENT_SCORE),
        "iou": torch.ones(1),
    }


def mask_logits(square: Tensor) -> Tensor:
    """A mask (1, 1, N, N) as SAM 2 puts it among its outputs: logits (1, 1, N / 4, N / 4) of +-10."""
    size = (square.shape[-2] // 4, square.shape[-1] // 4)
    scaled = square * 2 * LOGIT_LIMIT - LOGIT_LIMIT
    return F.interpolate(scaled, size=size, align_corners=False, mode="bilinear", antialias=True)


def found_on(out: SliceOutput, least_overlap: float) -> SliceOutput:
    """The parts of a slice's output that the result needs, so that its memory can be dropped.

    Where the network itself expects its mask to overlap the object by less than ``least_overlap`` (0 to 1), there is
    none: past an end the expected overlap falls long before the object score does.
    """
    found = {key: out[key].clone() for key in ("pred_masks", "object_score_logits", "iou")}
    if float(found["iou"].max()) < least_overlap:
        found["pred_masks"].fill_(NO_OBJ_SCORE)
    return found


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
