"""Loss terms against values worked out by hand."""

import math

import pytest
import torch

from slmsam2.training.clip import DecoderOutputs
from slmsam2.training.losses import clip_loss, hard_iou, soft_dice_loss

pytestmark = pytest.mark.unit


def test_soft_dice():
    # probabilities 0.5 on two pixels, one of them true: 1 - (2 * 0.5 + 1) / (1 + 1 + 1)
    loss = soft_dice_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(1 - 2 / 3)


def test_hard_iou():
    logits = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    target = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    assert hard_iou(logits, target).item() == pytest.approx(1 / 3)
    assert hard_iou(-torch.ones(1, 4), torch.zeros(1, 4)).item() == 0


def outputs(logits, iou, score):
    return DecoderOutputs([logits], [torch.tensor([iou])], [torch.tensor([[score]])], [1])


def test_loss_of_one_slice_by_hand():
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, :, 0] = True
    loss = clip_loss(outputs(torch.zeros(1, 1, 2, 2), [0.75], 0.0), masks)
    # focal at p = 0.5: alpha_t * 0.5^2 * ln 2, alpha 0.25 for the two true pixels and 0.75 for the others
    focal = 0.5 * 0.25 * math.log(2)
    dice = 1 - (2 * 1 + 1) / (2 + 2 + 1)
    assert loss.focal.item() == pytest.approx(focal, rel=1e-5)
    assert loss.dice.item() == pytest.approx(dice, rel=1e-5)
    assert loss.iou.item() == pytest.approx(0.75)  # a logit of 0 is no mask: true overlap 0
    assert loss.presence.item() == pytest.approx(math.log(2), rel=1e-5)
    assert loss.total.item() == pytest.approx(20 * focal + dice + 0.75 + math.log(2), rel=1e-5)


def test_an_absent_structure_counts_only_in_its_score():
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, 0] = True
    loss = clip_loss(outputs(torch.full((1, 1, 2, 2), 5.0), [0.9], -3.0), masks)
    assert loss.focal == loss.dice == loss.iou == 0
    assert loss.total.item() == pytest.approx(math.log1p(math.exp(-3.0)), rel=1e-5)


def test_absent_masks_push_the_mask_to_empty():
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, 0] = True
    logits = torch.full((1, 1, 2, 2), 5.0, requires_grad=True)
    loss = clip_loss(outputs(logits, [0.9], -3.0), masks, absent_pixels=1.0)
    p = 1 / (1 + math.exp(-5.0))
    assert loss.dice.item() == pytest.approx(1 - 1 / (4 * p + 1), rel=1e-4)
    loss.total.backward()
    assert (logits.grad > 0).all()
    softer = clip_loss(outputs(logits, [0.9], -3.0), masks, absent_pixels=4 * p)
    assert softer.dice.item() == pytest.approx(0.5, rel=1e-4)
    assert loss.iou.item() == pytest.approx(0.9)  # an overlap of 0.9 was expected, there is none


def test_focal_alpha_weighs_the_structure():
    masks = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    masks[0, :, 0] = True
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    for alpha in (0.25, 0.5, 0.8):
        loss = clip_loss(outputs(logits, [0.75], 0.0), masks, focal_alpha=alpha)
        inside, outside = torch.autograd.grad(loss.focal, logits)[0][0, 0]
        assert (inside / outside).mean().item() == pytest.approx(-alpha / (1 - alpha), rel=1e-4)


def test_presence_weight():
    masks = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    once, thrice = (
        clip_loss(outputs(torch.zeros(1, 1, 2, 2), [0.75], 0.0), masks, presence_weight=weight)
        for weight in (1, 3)
    )
    assert (thrice.total - once.total).item() == pytest.approx(2 * math.log(2), rel=1e-5)


def test_the_best_of_three_masks_is_trained():
    masks = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    logits = torch.stack([torch.full((2, 2), v) for v in (-4.0, 4.0, 0.0)])[None].requires_grad_()
    loss = clip_loss(outputs(logits, [0.0, 1.0, 0.0], 9.0), masks)
    (20 * loss.focal + loss.dice).backward()
    per_mask = logits.grad.abs().sum(dim=(2, 3))[0]
    assert per_mask[1] > 0
    assert per_mask[0] == per_mask[2] == 0


def test_published_losses_are_summed_over_slices_and_clicks():
    """Two structures, three calls (slice 1 twice): sums over calls, means over structures, masks where present."""
    masks = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    masks[0, :, 0] = True
    masks[1, :2, 0] = True  # absent on slice 2
    logits = [torch.zeros(2, 1, 2, 2) for _ in range(3)]
    ious = [torch.tensor([[0.75], [0.5]]) for _ in range(3)]
    scores = [torch.zeros(2, 1) for _ in range(3)]
    loss = clip_loss(DecoderOutputs(logits, ious, scores, [1, 1, 2]), masks, summed=True)
    focal, dice = 0.5 * 0.25 * math.log(2), 1 - (2 * 1 + 1) / (2 + 2 + 1)
    assert loss.focal.item() == pytest.approx(5 / 2 * focal, rel=1e-5)  # 3 calls of one, 2 of the other
    assert loss.dice.item() == pytest.approx(5 / 2 * dice, rel=1e-5)
    assert loss.iou.item() == pytest.approx((3 * 0.75 + 2 * 0.5) / 2)
    assert loss.presence.item() == pytest.approx(3 * math.log(2), rel=1e-5)
    total = 20 * 2.5 * focal + 2.5 * dice + 1.625 + 3 * math.log(2)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
