"""Samples: chosen instances, unreadable files, padding."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from sameo_model.data.rle import encode_mask
from sameo_model.training.config import SampleOptions
from sameo_model.training.sample_plan import Draw
from sameo_model.training.samples import TrainingSamples, collate, collate_step
from sameo_model.training.trainer import train
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config, make_model, make_sources

PLAIN = SampleOptions(boxes_per_image=4, augment=False, prompt="visible")


def _samples(folder, options=PLAIN, num_images=2):
    images = write_drawn_scenes(folder, num_images)
    return TrainingSamples(make_sources(images), options, image_size=64, seed=0)


def test_a_draw_with_instances_takes_these_alone_and_prompts_with_their_box(tmp_path):
    (sample,) = _samples(tmp_path / "data")[Draw((7,), 0, 0, (1,))]["views"]
    assert sample["boxes_xyxy"].shape == (1, 4)
    # The bar covers columns 63 to 77 and rows 11 to 89 of 128 x 96 pixels; the input has 64 x 64.
    expected = [63 / 2, 11 * 64 / 96, 78 / 2, 90 * 64 / 96]
    np.testing.assert_allclose(sample["boxes_xyxy"][0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "columns"), [("amodal", (21, 80)), ("visible", (21, 80))], ids=["amodal", "visible"]
)
def test_masks_do_not_depend_on_the_prompt(tmp_path, prompt, columns):
    options = SampleOptions(boxes_per_image=4, augment=False, prompt=prompt)
    (sample,) = _samples(tmp_path / "data", options)[Draw((7,), 0, 0, (0,))]["views"]
    assert sample["amodal"].sum() > sample["visible"].sum() > 0
    assert tuple(sample["boxes_xyxy"][0, ::2] * 2) == columns


def test_the_same_draw_gives_the_same_sample_and_another_stream_another(tmp_path):
    samples = _samples(tmp_path / "data", SampleOptions(paste=1.0, box_jitter=0.1))
    draws = (Draw((3,), 0, 0), Draw((3,), 0, 0), Draw((4,), 0, 0))
    first, again, other = (samples[draw]["views"][0] for draw in draws)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["boxes_xyxy"], again["boxes_xyxy"])
    assert not torch.equal(first["image"], other["image"])


def test_an_unreadable_image_is_replaced_and_named(tmp_path):
    samples = _samples(tmp_path / "data")
    (tmp_path / "data" / "images" / "0.png").write_bytes(b"not an image")
    sample = samples[Draw((1,), 0, 0)]
    assert sample["path"].endswith("1.png")
    assert list(sample["unreadable"]) == [str(tmp_path / "data" / "images" / "0.png")]
    assert "cannot be read" in next(iter(sample["unreadable"].values()))


def test_training_skips_unreadable_images_up_to_a_limit_then_stops(tmp_path, caplog):
    sources = make_sources(write_drawn_scenes(tmp_path / "data", 3))
    (tmp_path / "data" / "images" / "0.png").unlink()
    train(make_config(tmp_path, max_unreadable=1), make_model(), sources)
    assert sum("skipped image" in record.message for record in caplog.records) == 1
    (tmp_path / "data" / "images" / "1.png").write_bytes(b"")
    config = make_config(tmp_path, max_unreadable=1, output=str(tmp_path / "other"), steps=50)
    with pytest.raises(RuntimeError, match="at most 1 images may be unreadable, got 2") as caught:
        train(config, make_model(), sources)
    assert "0.png" in str(caught.value)
    assert "1.png" in str(caught.value)


def test_a_set_without_readable_images_stops_with_the_reasons(tmp_path):
    samples = _samples(tmp_path / "data")
    for path in (tmp_path / "data" / "images").iterdir():
        cv2.imwrite(str(path), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(RuntimeError, match=r"no usable image found in 20 .*annotated size"):
        samples[Draw((1,), 0, 0)]


def test_collating_marks_padding_and_splits_steps(tmp_path):
    samples = _samples(tmp_path / "data")
    one, two = samples[Draw((1,), 0, 0, (1,))], samples[Draw((2,), 0, 1, (0, 1))]
    batch = collate([one, two])
    assert batch["is_valid"].tolist() == [[True, False], [True, True]]
    assert torch.equal(batch["boxes_xyxy"][0, :1], one["views"][0]["boxes_xyxy"])
    assert torch.equal(batch["amodal"][1], two["views"][0]["amodal"])
    assert [len(b["paths"]) for b in collate_step([one, two, one], 2)] == [2, 1]
    assert [len(b["paths"]) for b in collate_step([one, two, one], 0)] == [3]


def test_random_prompts_are_amodal_with_the_given_probability(tmp_path):
    image = write_drawn_scenes(tmp_path / "data", 1)[0]
    disc = image.instances[0]
    left_half = disc.amodal_mask()
    left_half[:, 50:] = False
    disc = replace(disc, visible_rle=encode_mask(left_half))
    widths = {}
    for share in (0.0, 0.5, 1.0):
        options = SampleOptions(augment=False, amodal_prompts=share)
        sources = make_sources([replace(image, instances=(disc,))])
        samples = TrainingSamples(sources, options, image_size=128, seed=0)
        boxes = [samples[Draw((n,), 0, 0)]["views"][0]["boxes_xyxy"][0] for n in range(16)]
        widths[share] = {float(box[2] - box[0]) for box in boxes}
    assert widths == {0.0: {29.0}, 0.5: {29.0, 59.0}, 1.0: {59.0}}


def test_the_noise_of_boxes_is_drawn_for_each_image(tmp_path):
    exact, noisy = (
        _samples(
            tmp_path / str(jitter),
            SampleOptions(boxes_per_image=4, augment=False, prompt="visible", box_jitter=jitter),
        )
        for jitter in (0.0, 0.2)
    )
    largest_moves = []
    for stream in range(24):
        draw = Draw((stream,), 0, 0, (0, 1))
        boxes, moved = (samples[draw]["views"][0]["boxes_xyxy"] for samples in (exact, noisy))
        sizes = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
        largest_moves.append(float(((moved - boxes) / sizes).abs().max()))
    assert max(largest_moves) <= 0.2
    assert min(largest_moves) < 0.05
    assert max(largest_moves) > 0.12


def test_clicks_lie_on_the_visible_part_and_each_box_gets_up_to_as_many(tmp_path):
    options = SampleOptions(boxes_per_image=4, augment=False, prompt="visible", points=3)
    samples = _samples(tmp_path / "data", options)
    counts = set()
    for stream in range(12):
        (view,) = samples[Draw((stream,), 0, 0, (0, 1))]["views"]
        assert view["points_xy"].shape == (2, 3, 2)
        for mask, points, labels in zip(
            view["visible"], view["points_xy"], view["point_labels"], strict=True
        ):
            counts.add(int((labels == 1).sum()))
            # Four pixels of the 64 x 64 input for one of the mask.
            for (x, y), label in zip((points // 4).long().tolist(), labels.tolist(), strict=True):
                assert mask[y, x] if label == 1 else label == -1
    assert counts == {0, 1, 2, 3}


def test_without_clicks_samples_are_what_they_were(tmp_path):
    (view,) = _samples(tmp_path / "data")[Draw((1,), 0, 0)]["views"]
    assert "points_xy" not in view
    with_clicks = SampleOptions(boxes_per_image=4, augment=False, prompt="visible", points=2)
    (other,) = _samples(tmp_path / "more", with_clicks)[Draw((1,), 0, 0)]["views"]
    assert torch.equal(view["boxes_xyxy"], other["boxes_xyxy"])
    batch = collate([_samples(tmp_path / "third", with_clicks)[Draw((1,), 0, 0)]])
    assert batch["points_xy"].shape == (1, 2, 2, 2)
