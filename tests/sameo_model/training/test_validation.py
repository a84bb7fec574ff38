"""Scores averaged over prompts, overlays of fixed images."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sameo_model.training.trainer import train
from sameo_model.training.validation import Validation, average_scores
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config, make_model, make_sources


def test_scores_are_averaged_over_prompts_and_kept_for_each():
    merged = average_scores(
        {
            "visible": {"miou_full": 0.4, "miou_visible": None, "bins": []},
            "amodal": {"miou_full": 0.8, "miou_visible": None, "bins": []},
        }
    )
    assert merged["miou_full"] == pytest.approx(0.6)
    assert merged["visible_prompts/miou_full"] == 0.4
    assert merged["amodal_prompts/miou_full"] == 0.8
    assert merged["miou_visible"] is None
    assert average_scores({"visible": {"miou_full": 0.4}}) == {"miou_full": 0.4}


def test_overlays_show_truth_beside_prediction_for_images_spread_over_the_set(tmp_path):
    images = write_drawn_scenes(tmp_path / "data", 5)
    result = Validation(images, ("visible", "amodal"), num_overlays=3)(make_model())
    assert list(result.overlays) == ["image_0", "image_2", "image_4"]
    overlay = result.overlays["image_2"]
    assert overlay.shape == (96, 256, 3)
    # Truth on the left: the disc, the bar and the background are tinted apart from the photograph.
    assert not np.array_equal(overlay[:, :128], images[2].load_rgb())
    assert not np.array_equal(overlay[:, :128], overlay[:, 128:])


def test_tensorboard_gets_scalars_and_the_same_overlays_each_time(tmp_path):
    images = write_drawn_scenes(tmp_path / "data", 3)
    config = make_config(tmp_path, steps=2, val_interval=1)
    train(config, make_model(), make_sources(images), Validation(images, num_overlays=2))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    scalars = set(events.Tags()["scalars"])
    losses = {"train/total", "train/dice", "train/focal", "train/iou", "train/grad_norm"}
    assert losses | {"train/lr", "train/images_per_s", "train/instances_per_s"} <= scalars
    assert {"val/miou_full", "val/miou_hidden", "val/miou_visible"} <= scalars
    assert events.Tags()["images"] == ["val/image_0", "val/image_2"]
    for name in ("val/image_0", "val/image_2"):
        assert [event.step for event in events.Images(name)] == [1, 2]
        assert (events.Images(name)[0].width, events.Images(name)[0].height) == (256, 96)


def test_a_run_logs_scores_of_the_average_and_keeps_training_the_weights(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    changes = {"steps": 2, "val_interval": 1}
    plain = {"name": "adam", "lr": 1e-2}
    averaged = make_config(tmp_path, **changes, optimiser={**plain, "ema_decay": 0.999})
    seen = []

    def validate(model):
        seen.append(model.mask_decoder.iou_token.weight.detach().clone())
        return Validation(images)(model)

    model = train(averaged, make_model(), make_sources(images), validate)
    # What was validated last is what the run returns.
    assert (seen[-1] == model.mask_decoder.iou_token.weight).all()
    config = make_config(tmp_path, **changes, optimiser=plain, output=str(tmp_path / "plain"))
    raw = train(config, make_model(), make_sources(images))
    assert not (seen[-1] == raw.mask_decoder.iou_token.weight).all()
