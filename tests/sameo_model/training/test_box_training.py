"""The box detector learns by the same trainer as masks, and resumes exactly."""

import pytest
import torch

from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.lite_encoder import load_imagenet_weights
from sameo_model.train import main
from sameo_model.training.box_validation import BoxValidation, detect
from sameo_model.training.config_loading import config_from_dict
from sameo_model.training.sample_plan import TrainingSet
from sameo_model.training.step import BoxTrainingStep
from sameo_model.training.trainer import train
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import assert_same_weights


def make_config(tmp_path, **changes):
    values = {
        "train": [{"root": str(tmp_path / "data")}],
        "preset": "box_detector",
        "image_size": 96,
        "trainable": ["image_encoder", "box_head"],
        "boxes": {"side": 96, "scale": [1, 1]},
        "optimiser": {"name": "adamw", "lr": 3e-3, "schedule": "cosine", "ema_decay": 0.9},
        "images_per_step": 4,
        "steps": 4,
        "workers": 0,
        "log_interval": 1,
        "best_metric": "box_visible_ap",
        "output": str(tmp_path / "run"),
    }
    return config_from_dict({**values, **changes})


def make_model():
    torch.manual_seed(0)
    return BoxDetector(96).eval()


@pytest.mark.slow
def test_training_overfits_drawn_scenes(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    validate = BoxValidation({"drawn": images}, num_overlays=1)
    model = make_model()
    load_imagenet_weights(model.image_encoder.backbone)
    before = validate(model).scores["box_visible_ap50"]
    config = make_config(tmp_path, steps=150, log_interval=50, frozen_blocks=16)
    train(config, model, [TrainingSet(images)])
    result = validate(model)
    assert before < 0.3
    assert result.scores["drawn/visible_ap50"] > 0.9
    assert result.scores["drawn/amodal_ap50"] > 0.9
    assert result.overlays["drawn/1"].shape == (96, 128, 3)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    whole = train(make_config(tmp_path), make_model(), [TrainingSet(images)])
    half = {"output": str(tmp_path / "parts"), "checkpoint_interval": 2}
    stopped = make_config(tmp_path, **half)

    class Stopped(Exception):
        pass

    def stop(model):
        raise Stopped

    # The checkpoint of step 2 is written before step 3 validates, where the run is stopped.
    with pytest.raises(Stopped):
        train(
            make_config(tmp_path, **half, val_interval=3), make_model(), [TrainingSet(images)], stop
        )
    resumed = train(stopped, make_model(), [TrainingSet(images)])
    assert_same_weights(whole.state_dict(), resumed.state_dict())


def test_the_backbone_keeps_its_statistics_and_frozen_blocks_their_weights(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    before = {name: value.clone() for name, value in make_model().state_dict().items()}
    config = make_config(tmp_path, frozen_blocks=5, steps=2)
    after = train(config, make_model(), [TrainingSet(images)]).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    backbone = {name for name in changed if "backbone" in name}
    assert not any("running" in name for name in backbone)
    assert not any(name.split(".")[2] == "stem" for name in backbone)
    assert {int(name.split(".")[3]) for name in backbone} == set(range(5, 16))
    assert any("running_mean" in name for name in changed - backbone)


def test_only_trained_parts_take_part_in_the_gradient():
    model = make_model()
    BoxTrainingStep(
        model,
        config_from_dict(
            {"train": [{"root": "data"}], "preset": "box_detector", "trainable": ["box_head"]}
        ),
    )
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"box_head"}


def test_the_command_line_trains_and_validates_a_detector(tmp_path, capsys):
    write_drawn_scenes(tmp_path / "data")
    config = tmp_path / "boxes.yaml"
    config.write_text(
        f"train: [{{root: {tmp_path / 'data'}, complete: false}}]\n"
        f"val: [{{root: {tmp_path / 'data'}}}]\n"
        "preset: box_detector\nimage_size: 64\ntrainable: [image_encoder, box_head]\n"
        "boxes: {side: 64}\nbest_metric: box_visible_ap\nsteps: 1\nworkers: 0\n"
        f"output: {tmp_path / 'run'}\n"
    )
    assert main(["--config", str(config)]) == 0
    assert "wrote" in capsys.readouterr().out
    assert load_box_detector(tmp_path / "run" / "model.safetensors").image_size == 64
    assert load_box_detector(tmp_path / "run" / "best.safetensors").image_size == 64
    assert "/visible_ap50" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_boxes_belong_to_the_image_and_lie_inside_it(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    found = detect(make_model(), images[0].load_rgb())
    visible, amodal, scores = found.boxes_xyxy, found.amodal_boxes_xyxy, found.scores
    assert len(visible) == len(amodal) == len(scores) > 0
    for boxes in (visible, amodal):
        assert (boxes >= 0).all()
        assert (boxes <= [128, 96, 128, 96]).all()
    assert (scores[:-1] >= scores[1:]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": {"side": 100}}, "boxes.side must be a positive multiple of 32, got 100"),
        ({"boxes": {"scale": [2, 1]}}, r"boxes.scale must be two positive numbers, got \[2.0, 1.0"),
        ({"boxes": {"empty_share": 1.0}}, r"boxes.empty_share must lie in \[0, 1\), got 1.0"),
        ({"compile": True}, "compile is for mask networks"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(tmp_path, **changes)
