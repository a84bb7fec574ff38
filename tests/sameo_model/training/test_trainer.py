"""The trainer learns, and a killed run goes on exactly where it was."""

import json

import pytest
import torch

from sameo_model.evaluation.mask_metrics import evaluate_masks
from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.modeling.checkpoint import load_checkpoint
from sameo_model.modeling.presets import build_sameo
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.sample_plan import Source
from sameo_model.training.trainer import train
from sameo_model.training.validation import ValidationResult
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes

PARTS = ["image_encoder", "prompt_encoder", "mask_decoder"]


def _config(tmp_path, **changes):
    values = {
        "train": [{"root": "unused"}],
        "trainable": PARTS,
        "samples": {"boxes_per_image": 4, "augment": False},
        "optimiser": {"name": "adamw", "lr": 1e-3, "max_grad_norm": 1.0},
        "images_per_step": 2,
        "steps": 4,
        "workers": 0,
        "log_interval": 1,
        "output": str(tmp_path / "run"),
    }
    return config_from_dict({**values, **changes})


def _model(visible_decoder=False):
    torch.manual_seed(0)
    return build_sameo("sameo_lite", 128, visible_decoder=visible_decoder)


class _Killed(Exception):
    pass


def test_training_overfits_a_handful_of_instances_with_both_decoders(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    before = evaluate_masks(wrap_model(_model(visible_decoder=True)), images)
    config = _config(
        tmp_path,
        steps=150,
        log_interval=50,
        decoders=["mask_decoder", "visible_decoder"],
        trainable=[*PARTS, "visible_decoder"],
    )
    scores = evaluate_masks(
        wrap_model(train(config, _model(visible_decoder=True), [Source(images)])), images
    )
    assert max(before["miou_full"], before["miou_visible"]) < 0.5
    assert scores["miou_full"] > 0.9
    assert scores["miou_hidden"] > 0.6
    assert scores["miou_visible"] > 0.85


def test_a_killed_run_resumes_bit_exactly(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    straight = train(
        _config(tmp_path, output=str(tmp_path / "straight")), _model(), [Source(images)]
    )
    config = _config(tmp_path, checkpoint_interval=2, val_interval=3)

    def kill(_):
        raise _Killed

    with pytest.raises(_Killed):
        train(config, _model(), [Source(images)], kill)  # after step 3, with a checkpoint of step 2
    resumed = train(_config(tmp_path, checkpoint_interval=2), _model(), [Source(images)])
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_frozen_parts_stay_and_the_trained_decoder_moves(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    before = _model(visible_decoder=True).state_dict()
    config = _config(tmp_path, trainable=["mask_decoder"], steps=1)
    after = train(config, _model(visible_decoder=True), [Source(images)]).state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"mask_decoder"}


def test_another_configuration_is_refused_with_what_differs(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    train(_config(tmp_path, steps=1), _model(), [Source(images)])
    with pytest.raises(ValueError, match="steps: 1 then, 2 now"):
        train(_config(tmp_path, steps=2), _model(), [Source(images)])


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    model = _model()
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan at step 0"):
        train(_config(tmp_path), model, [Source(images)])


def test_run_folder_holds_checkpoint_metrics_and_no_leftovers(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    config = _config(tmp_path, steps=2, val_interval=1)
    train(config, _model(), [Source(images)], lambda model: ValidationResult({"miou_full": 0.5}))
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/total" in line] == [1, 2]
    assert [line["val/miou_full"] for line in lines if "val/miou_full" in line] == [0.5, 0.5]
    assert not list(run.glob(".*.tmp"))
    assert any(run.glob("events.out.tfevents*"))
    assert load_checkpoint(run / "last.ckpt").preset == "sameo_lite"
