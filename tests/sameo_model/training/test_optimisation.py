"""Learning rates and moving averages, by hand."""

import pytest
import torch
from torch import nn

from sameo_model.training.config import OptimiserOptions
from sameo_model.training.optimisation import MovingAverage, build_optimiser, set_learning_rate
from tests.sameo_model.training.runs import make_model


def _layer(value):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_average_moves_towards_the_weights_and_frozen_ones_are_left_out():
    model = nn.ModuleDict({"trained": _layer(0.0), "frozen": _layer(5.0).requires_grad_(False)})
    average = MovingAverage(model, 0.9)
    nn.init.constant_(model["trained"].weight, 1.0)
    average.update(step=0)
    # The first step's decay is (1 + 0) / (10 + 0) = 0.1: 0.1 * 0 + 0.9 * 1.
    assert list(average.weights) == ["trained.weight"]
    assert average.weights["trained.weight"].item() == pytest.approx(0.9)
    average.update(step=1000)
    # Later it is 0.9: 0.9 * 0.9 + 0.1 * 1.
    assert average.weights["trained.weight"].item() == pytest.approx(0.91)


def test_the_average_is_in_the_model_only_inside_the_block():
    model = _layer(0.0)
    average = MovingAverage(model, 0.9)
    nn.init.constant_(model.weight, 1.0)
    with average.applied():
        assert model.weight.item() == 0.0
    assert model.weight.item() == 1.0


def test_cosine_with_warm_up_rises_falls_and_keeps_two_percent():
    model = make_model()
    options = OptimiserOptions(
        name="sgd", lr=1.0, encoder_lr_scale=0.5, schedule="cosine", warmup_steps=4
    )
    optimiser = build_optimiser(model, options)
    rates = []
    for step in (0, 4, 50, 100):
        set_learning_rate(optimiser, options, step, num_steps=100)
        rates.append([group["lr"] for group in optimiser.param_groups])
    # Step 0 is the first of 4 warm-up steps; at half-way the cosine is 1/2: 0.02 + 0.98 / 2.
    assert rates[0] == pytest.approx([0.125, 0.25])
    assert rates[2] == pytest.approx([0.255, 0.51])
    assert rates[3] == pytest.approx([0.01, 0.02])


def test_only_trainable_weights_are_optimised():
    model = make_model().requires_grad_(False)
    model.mask_decoder.requires_grad_(True)
    optimiser = build_optimiser(model, OptimiserOptions())
    assert isinstance(optimiser, torch.optim.Adam)
    count = sum(len(group["params"]) for group in optimiser.param_groups)
    assert count == len(list(model.mask_decoder.parameters()))
