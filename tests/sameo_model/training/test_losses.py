"""The loss of equations 2 to 5 on cases small enough to work out by hand."""

import math

import pytest
import torch

from sameo_model.training.losses import sameo_loss


def _two_by_two(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 2, 2)


def test_loss_of_undecided_logits_is_what_the_equations_give():
    logits = _two_by_two([0.0, 0.0, 0.0, 0.0])
    target = torch.tensor([[[True, True], [False, False]]])
    losses = sameo_loss(logits, torch.tensor([[0.3]]), target)
    # p = 0.5 everywhere: dice = 1 - 2 (2 x 0.5) / (4 x 0.5 + 2) = 0.5;
    # focal = 0.5^2 log 2; no logit is above 0, so the mask is empty and its IoU 0: |0.3 - 0|.
    assert losses["dice"].item() == pytest.approx(0.5)
    assert losses["focal"].item() == pytest.approx(0.25 * math.log(2))
    assert losses["iou"].item() == pytest.approx(0.3)
    total = 0.5 + 0.25 * math.log(2) + 0.05 * 0.3
    assert losses["total"].item() == pytest.approx(total)


def test_iou_target_is_the_mask_binarised_at_logit_zero():
    logits = _two_by_two([5.0, -5.0, 0.1, -5.0])
    target = torch.tensor([[[True, True], [False, False]]])
    # Mask {0, 2} against truth {0, 1}: intersection 1, union 3.
    losses = sameo_loss(logits, torch.tensor([[1.0]]), target)
    assert losses["iou"].item() == pytest.approx(1 - 1 / 3)


def test_iou_target_sends_no_gradient_into_the_mask():
    logits = _two_by_two([5.0, -5.0, 0.1, -5.0]).requires_grad_()
    losses = sameo_loss(logits, torch.zeros(1, 1, requires_grad=True), torch.ones(1, 2, 2) > 0)
    losses["iou"].backward()
    assert logits.grad is None or not logits.grad.any()


@pytest.mark.parametrize(
    ("mask_selection", "expected_candidate"),
    [("min_loss", 1), ("best_predicted", 2), ("token0", 0)],
)
def test_mask_selection_trains_one_candidate(mask_selection, expected_candidate):
    target = torch.tensor([[[True, True], [False, False]]])
    right = [4.0, 4.0, -4.0, -4.0]
    wrong = [-4.0, -4.0, 4.0, 4.0]
    half = [4.0, -4.0, -4.0, -4.0]
    logits = _two_by_two(wrong + right + half).requires_grad_()
    losses = sameo_loss(
        logits, torch.tensor([[0.1, 0.2, 0.9]]), target, mask_selection=mask_selection
    )
    losses["total"].backward()
    trained = logits.grad.abs().sum((0, 2, 3)) > 0
    assert trained.nonzero().flatten().tolist() == [expected_candidate]


def test_iou_loss_counts_every_candidate_or_the_selected_one():
    target = torch.tensor([[[True, True], [False, False]]])
    right, wrong = [4.0, 4.0, -4.0, -4.0], [-4.0, -4.0, 4.0, 4.0]
    logits = _two_by_two(wrong + right)
    # The IoUs are 0 and 1, so the errors are 0.3 and 0.4; the smaller loss is that of the second.
    estimates = torch.tensor([[0.3, 0.6]])
    every = sameo_loss(logits, estimates, target)
    selected = sameo_loss(logits, estimates, target, iou_candidates="selected")
    assert every["iou"].item() == pytest.approx(0.35)
    assert selected["iou"].item() == pytest.approx(0.4)
    assert selected["dice"].item() == every["dice"].item()


def test_all_trains_every_candidate_and_instances_are_averaged():
    target = torch.ones(2, 2, 2) > 0
    logits = torch.zeros(2, 3, 2, 2)
    losses = sameo_loss(logits, torch.zeros(2, 3), target, mask_selection="all")
    # dice = 1 - 2 x 2 / (2 + 4) = 1/3 for each of the candidates.
    assert losses["dice"].item() == pytest.approx(1 / 3)


def test_unknown_selection_and_wrong_shapes_are_refused():
    logits, iou, target = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3), torch.ones(1, 2, 2) > 0
    with pytest.raises(ValueError, match=r"mask_selection must be one of .* got 'best'"):
        sameo_loss(logits, iou, target, mask_selection="best")
    with pytest.raises(ValueError, match="iou_candidates must be one of all, selected, got 'best'"):
        sameo_loss(logits, iou, target, iou_candidates="best")
    with pytest.raises(ValueError, match=r"target must be bool with shape \(1, 2, 2\)"):
        sameo_loss(logits, iou, target.float())
    with pytest.raises(ValueError, match=r"logits must have shape \(N, M, h, w\)"):
        sameo_loss(logits[0], iou, target)
