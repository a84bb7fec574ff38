"""Loss of the box detector, and which cells answer for which object."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sameo_model.modeling.box_detector import BoxPredictions

CELLS_PER_OBJECT = 10
QUALITY_POWER = 6
VISIBLE_WEIGHT, AMODAL_WEIGHT, IOU_WEIGHT = 2.0, 1.0, 0.5
# What scores higher than this where not everything is labelled may be an unlabelled object.
DOUBTFUL_SCORE = 0.3
IGNORED = -1
NO_OBJECT = 0


def box_loss(predictions: BoxPredictions, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss of a batch.

    Cells answer for the object on whose visible mask they lie, so that none is ambiguous; of these
    the ten with the best score x IoU^6, over all strides (task-aligned assignment, TOOD, Feng et
    al. 2021). Objectness is trained towards the IoU (quality focal loss, GFL, Li et al. 2020), the
    IoU itself on answering cells alone (OLN, Kim et al. 2022), boxes with GIoU (Rezatofighi et al.
    2019), weighted by their quality.

    Args:
        batch: ``cells`` int64 (B, A), 1 + index of the object under the cell's centre, 0 for none,
            -1 where nothing is to be learned; ``visible_xyxy`` and ``amodal_xyxy`` float32
            (B, N, 4), pixels of the input; ``has_amodal`` bool (B, N), False where the whole box
            is not known; ``is_complete`` bool (B,), False where objects may be unlabelled.

    Returns:
        ``object``, ``iou``, ``visible``, ``amodal`` and their weighted sum ``total``.
    """
    cells = batch["cells"]
    row = (cells - 1).clamp(min=0)
    image = torch.arange(len(cells), device=cells.device)[:, None].expand_as(cells)
    if batch["visible_xyxy"].shape[1]:
        visible, amodal = batch["visible_xyxy"][image, row], batch["amodal_xyxy"][image, row]
        has_amodal = batch["has_amodal"][image, row]
    else:
        visible = amodal = torch.zeros_like(predictions.visible_xyxy)
        has_amodal = torch.zeros_like(cells, dtype=torch.bool)
    on_object = cells > NO_OBJECT
    overlap, fit = overlaps(predictions.visible_xyxy, visible)
    quality = torch.where(on_object, overlap, 0.0).detach()
    score = predictions.object_logits.detach().sigmoid()
    answers = choose_cells(cells, score * quality**QUALITY_POWER)
    target = torch.where(answers, quality, 0.0)

    counts = (cells != IGNORED) & (
        on_object | batch["is_complete"][:, None] | (score < DOUBTFUL_SCORE)
    )
    num_answers = answers.sum().clamp(min=1)
    focal = (target - predictions.object_logits.sigmoid()).square()
    focal = focal * F.binary_cross_entropy_with_logits(
        predictions.object_logits, target, reduction="none"
    )
    iou = F.binary_cross_entropy_with_logits(predictions.iou_logits, target, reduction="none")
    _, whole_fit = overlaps(predictions.amodal_xyxy, amodal)
    losses = {
        "object": focal[counts].sum() / num_answers,
        "iou": iou[answers].sum() / num_answers,
        "visible": _weighted_mean(1 - fit, target),
        "amodal": _weighted_mean(1 - whole_fit, torch.where(has_amodal, target, 0.0)),
    }
    losses["total"] = (
        losses["object"]
        + IOU_WEIGHT * losses["iou"]
        + VISIBLE_WEIGHT * losses["visible"]
        + AMODAL_WEIGHT * losses["amodal"]
    )
    return losses


def choose_cells(cells: Tensor, alignment: Tensor) -> Tensor:
    """Choose the cells that answer for each object: the ten with the highest alignment.

    Args:
        cells: int64 (B, A), 1 + index of the object of each cell; 0 and -1 are none.
        alignment: float32 (B, A), at least 0.

    Returns:
        bool (B, A).
    """
    num_images, num_cells = cells.shape
    # One number per object of the batch.
    image = torch.arange(num_images, device=cells.device)[:, None]
    objects = (cells + image * (num_cells + 1)).flatten()
    candidates = torch.nonzero(cells.flatten() > NO_OBJECT).squeeze(1)
    ranked = candidates[alignment.flatten()[candidates].argsort(descending=True)]
    ranked = ranked[objects[ranked].argsort(stable=True)]
    sizes = torch.unique(objects[ranked], return_counts=True)[1]
    first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    rank = torch.arange(len(ranked), device=cells.device) - first
    chosen = torch.zeros_like(objects, dtype=torch.bool)
    chosen[ranked[rank < CELLS_PER_OBJECT]] = True
    return chosen.view_as(cells)


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and GIoU of boxes, pair by pair.

    Args:
        first: float32 (..., 4), x1, y1, x2, y2.
        second: The same.

    Returns:
        float32 (...) in [0, 1], and float32 (...) in [-1, 1].
    """
    shared = _area(
        torch.maximum(first[..., :2], second[..., :2]),
        torch.minimum(first[..., 2:], second[..., 2:]),
    )
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - shared
    around = _area(
        torch.minimum(first[..., :2], second[..., :2]),
        torch.maximum(first[..., 2:], second[..., 2:]),
    )
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (around - union) / around.clamp(min=1e-6)


def _area(top_left: Tensor, bottom_right: Tensor) -> Tensor:
    return (bottom_right - top_left).clamp(min=0).prod(dim=-1)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
