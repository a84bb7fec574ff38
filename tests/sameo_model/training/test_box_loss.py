"""Which cells answer for which object, and what they are taught."""

import pytest
import torch

from sameo_model.modeling.box_detector import BoxPredictions, cell_grid
from sameo_model.training.box_loss import box_loss, choose_cells, overlaps

CENTRES, STRIDES = cell_grid(64, 64)
NUM_CELLS = len(CENTRES)
BOX = torch.tensor([16.0, 16, 48, 48])


def make_batch(**changes):
    """One image of 64 x 64 with one object in its middle."""
    inside = (CENTRES > 16).all(1) & (CENTRES < 48).all(1)
    return {
        "cells": inside.long()[None],
        "visible_xyxy": BOX[None, None],
        "amodal_xyxy": BOX[None, None],
        "has_amodal": torch.tensor([[True]]),
        "is_complete": torch.tensor([True]),
        **changes,
    }


def make_predictions(object_logits=None, box=BOX, whole=BOX):
    return BoxPredictions(
        torch.full((1, NUM_CELLS), -9.0) if object_logits is None else object_logits,
        torch.zeros(1, NUM_CELLS),
        box.expand(1, NUM_CELLS, 4).clone().requires_grad_(),
        whole.expand(1, NUM_CELLS, 4).clone().requires_grad_(),
    )


def test_overlaps_of_boxes_drawn_by_hand():
    first = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]])
    second = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [3, 0, 4, 2]])
    iou, giou = overlaps(first, second)
    # Shared 2 of 6; the box around both adds nothing. Apart: 6 of the 8 around them are filled.
    torch.testing.assert_close(iou, torch.tensor([1, 1 / 3, 0]))
    torch.testing.assert_close(giou, torch.tensor([1, 1 / 3, -0.25]))


def test_the_ten_best_cells_answer_for_each_object_of_each_image():
    cells = torch.tensor([[1] * 12 + [2] * 3 + [0, -1], [1] * 17])
    alignment = torch.arange(34.0).reshape(2, 17)
    chosen = choose_cells(cells, alignment)
    assert torch.nonzero(chosen[0]).squeeze(1).tolist() == list(range(2, 15))
    assert torch.nonzero(chosen[1]).squeeze(1).tolist() == list(range(7, 17))


def test_true_boxes_and_scores_cost_almost_nothing():
    batch = make_batch()
    logits = torch.where(batch["cells"] > 0, 0.0, -20.0)
    # Of 4 x 4 + 2 x 2 cells of the object, ten answer; all fit, so the first ten found.
    answers = choose_cells(batch["cells"], torch.full((1, NUM_CELLS), 0.5))
    logits = torch.where(answers, 20.0, torch.full_like(logits, -20.0))
    losses = box_loss(make_predictions(logits), batch)
    assert float(losses["visible"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["amodal"]) == pytest.approx(0, abs=1e-6)
    assert int(answers.sum()) == 10


def test_what_may_be_an_unlabelled_object_is_not_punished_on_incomplete_images():
    logits = torch.full((1, NUM_CELLS), -9.0)
    corner = 0
    assert int(make_batch()["cells"][0, corner]) == 0
    logits[0, corner] = 3.0  # a score of 0.95
    complete = box_loss(make_predictions(logits), make_batch())["object"]
    incomplete = box_loss(make_predictions(logits), make_batch(is_complete=torch.tensor([False])))[
        "object"
    ]
    # 0.95^2 * 3.05 over ten answering cells.
    assert float(complete - incomplete) == pytest.approx(0.953**2 * 3.049 / 10, abs=1e-3)


def test_clear_background_of_incomplete_images_still_teaches():
    logits = torch.full((1, NUM_CELLS), -9.0, requires_grad=True)
    with torch.no_grad():
        logits[0, 0] = -1.0  # a score of 0.27
    box_loss(make_predictions(logits), make_batch(is_complete=torch.tensor([False])))[
        "object"
    ].backward()
    assert float(logits.grad[0, 0]) > 1e-3


def test_ignored_cells_teach_nothing():
    batch = make_batch()
    batch["cells"][0, :8] = -1
    logits = torch.ones(1, NUM_CELLS, requires_grad=True)
    box_loss(make_predictions(logits), batch)["total"].backward()
    assert not logits.grad[0, :8].any()
    assert logits.grad[0, 8:16].all()


def test_an_unknown_whole_box_teaches_nothing():
    wrong = torch.tensor([0.0, 0, 64, 64])
    known = make_predictions(whole=wrong)
    assert float(box_loss(known, make_batch())["amodal"]) == pytest.approx(0.75)
    unknown = make_predictions(whole=wrong)
    losses = box_loss(unknown, make_batch(has_amodal=torch.tensor([[False]])))
    losses["total"].backward()
    assert float(losses["amodal"]) == 0
    assert not unknown.amodal_xyxy.grad.any()


def test_a_batch_without_objects_teaches_that_there_are_none():
    batch = make_batch(
        cells=torch.zeros(1, NUM_CELLS, dtype=torch.int64),
        visible_xyxy=torch.zeros(1, 0, 4),
        amodal_xyxy=torch.zeros(1, 0, 4),
        has_amodal=torch.zeros(1, 0, dtype=torch.bool),
    )
    logits = torch.zeros(1, NUM_CELLS, requires_grad=True)
    losses = box_loss(make_predictions(logits), batch)
    losses["total"].backward()
    assert (logits.grad > 0).all()
    assert float(losses["visible"]) == float(losses["iou"]) == 0
