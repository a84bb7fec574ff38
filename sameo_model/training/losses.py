"""The training objective of SAMEO (paper section 3.1, equations 2 to 5)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from sameo_model.modeling.sameo import MaskSelection

IouCandidates = Literal["all", "selected"]
IOU_WEIGHT = 0.05  # lambda of equation 2
FOCAL_GAMMA = 2.0  # gamma of equation 4


def sameo_loss(
    logits: Tensor,
    iou: Tensor,
    target: Tensor,
    *,
    mask_selection: MaskSelection = "min_loss",
    iou_candidates: IouCandidates = "all",
) -> dict[str, Tensor]:
    """Return the SAMEO loss and its parts, averaged over instances (equations 2 to 5).

    Args:
        logits: float (N, M, h, w), mask logits of M candidate tokens per instance.
        iou: float (N, M), predicted IoU of every candidate.
        target: bool (N, h, w), true mask of every instance.
        mask_selection: which candidates carry the Dice and focal terms. `min_loss` takes the
            candidate with the smallest Dice + focal (as SAM does), `best_predicted` the one with
            the highest predicted IoU, `all` the mean over candidates, `token0` the first.
        iou_candidates: which candidates carry the IoU term: `all` the mean over every candidate,
            `selected` those that carry the mask terms, the predicted mask of equation 5 alone.

    Returns:
        Scalars float32: `dice` (equation 3), `focal` (equation 4, mean over pixels, gamma 2),
        `iou` (equation 5, against the IoU of the mask binarised at logit 0) and
        `total` = dice + focal + 0.05 iou (equation 2).

    Raises:
        ValueError: If shapes do not fit, or `mask_selection` or `iou_candidates` is unknown.
    """
    _check_shapes(logits, iou, target)
    logits, iou = logits.float(), iou.float()
    truth = target.unsqueeze(1).expand_as(logits)
    dice = _dice_loss(logits, truth)
    focal = _focal_loss(logits, truth)
    weights = _candidate_weights(dice + focal, iou, mask_selection)
    dice_term = (dice * weights).sum(1).mean()
    focal_term = (focal * weights).sum(1).mean()
    iou_error = (iou - mask_iou(logits.detach() > 0, truth)).abs()
    iou_term = (iou_error * _iou_weights(weights, iou_candidates)).sum(1).mean()
    total = dice_term + focal_term + IOU_WEIGHT * iou_term
    return {"dice": dice_term, "focal": focal_term, "iou": iou_term, "total": total}


def mask_iou(masks: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of two stacks of masks.

    Args:
        masks: bool (..., h, w).
        others: bool (..., h, w), same shape.

    Returns:
        float32 (...), in [0, 1]; 1 where both masks are empty.
    """
    intersection = (masks & others).flatten(-2).sum(-1)
    union = (masks | others).flatten(-2).sum(-1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def _dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    probs = logits.sigmoid().flatten(-2)
    truth = truth.flatten(-2).to(probs)
    overlap = 2 * (probs * truth).sum(-1)
    return 1 - overlap / (probs.sum(-1) + truth.sum(-1)).clamp(min=1e-6)


def _focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    # log(p_t) = -softplus(-z) with z the logit signed towards the true class.
    signed = torch.where(truth, logits, -logits)
    return (torch.sigmoid(-signed) ** FOCAL_GAMMA * F.softplus(-signed)).flatten(-2).mean(-1)


def _candidate_weights(mask_loss: Tensor, iou: Tensor, mask_selection: MaskSelection) -> Tensor:
    num_candidates = mask_loss.shape[1]
    if mask_selection == "all":
        return torch.full_like(mask_loss, 1 / num_candidates)
    if mask_selection == "min_loss":
        chosen = mask_loss.detach().argmin(1)
    elif mask_selection == "best_predicted":
        chosen = iou.detach().argmax(1)
    elif mask_selection == "token0":
        chosen = torch.zeros(len(mask_loss), dtype=torch.long, device=mask_loss.device)
    else:
        known = ", ".join(get_args(MaskSelection))
        raise ValueError(f"mask_selection must be one of {known}, got {mask_selection!r}")
    return F.one_hot(chosen, num_candidates).to(mask_loss)


def _iou_weights(mask_weights: Tensor, iou_candidates: IouCandidates) -> Tensor:
    if iou_candidates == "selected":
        return mask_weights
    if iou_candidates == "all":
        return torch.full_like(mask_weights, 1 / mask_weights.shape[1])
    known = ", ".join(get_args(IouCandidates))
    raise ValueError(f"iou_candidates must be one of {known}, got {iou_candidates!r}")


def _check_shapes(logits: Tensor, iou: Tensor, target: Tensor) -> None:
    if logits.ndim != 4 or iou.shape != logits.shape[:2]:
        raise ValueError(
            "logits must have shape (N, M, h, w) and iou (N, M), "
            f"got {tuple(logits.shape)} and {tuple(iou.shape)}"
        )
    if target.shape != (logits.shape[0], *logits.shape[2:]) or target.dtype != torch.bool:
        raise ValueError(
            f"target must be bool with shape {(logits.shape[0], *logits.shape[2:])}, "
            f"got {target.dtype} {tuple(target.shape)}; resize the true masks to the logits"
        )
