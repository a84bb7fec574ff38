"""Training windows: image, box and masks stay together through every change."""

import json

import cv2
import numpy as np
import pytest
import torch

from sameo_model.data.prompts import mask_to_box_xyxy
from sameo_model.evaluation.mask_metrics import evaluate_masks
from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.modeling.presets import build_sameo
from sameo_model.runtime.framing import Framing
from sameo_model.training.augment import Scene
from sameo_model.training.camera import see_through_camera
from sameo_model.training.config import DataSource, SampleOptions
from sameo_model.training.sample_plan import Draw
from sameo_model.training.samples import TrainingSamples, collate
from sameo_model.training.setup import open_sources
from sameo_model.training.step import TrainingStep
from sameo_model.training.trainer import train
from sameo_model.training.windows import make_window
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import PARTS, make_config, make_sources

WINDOW = Framing("window", padding=0.5, min_side=8)


def red_disc_scene():
    """A red disc on grey whose right half is hidden by a blue bar; one object, both masks."""
    rows, columns = np.mgrid[:96, :128]
    disc = (rows - 48) ** 2 + (columns - 50) ** 2 < 20**2
    hidden = disc & (columns >= 50)
    image = np.full((96, 128, 3), 90, np.uint8)
    image[disc] = (220, 30, 30)
    image[hidden] = (30, 30, 220)
    visible = disc & ~hidden
    return Scene(image, disc[None], visible[None], np.array([True]))


def visible_box(scene):
    return mask_to_box_xyxy(scene.visible_masks[0])


@pytest.mark.parametrize("seed", range(12))
def test_box_and_masks_follow_the_image_through_mirrors_and_turns(seed):
    scene = red_disc_scene()
    box = visible_box(scene)
    rng = np.random.default_rng(seed)
    window = make_window(scene, 0, box, WINDOW, image_size=64, target_size=64, rng=rng)
    assert window.image_rgb.shape == (64, 64, 3)
    # The box still encloses the visible mask, to a pixel of the window.
    np.testing.assert_allclose(mask_to_box_xyxy(window.visible_mask), window.box_xyxy, atol=1.5)
    assert not (window.visible_mask & ~window.amodal_mask).sum() > 12
    # What the masks call visible is the disc's red, what they call hidden is not.
    inside = cv2.erode(window.visible_mask.astype(np.uint8), np.ones((5, 5))) > 0
    hidden = cv2.erode(
        (window.amodal_mask & ~window.visible_mask).astype(np.uint8), np.ones((5, 5))
    )
    red, blue = window.image_rgb[..., 0].astype(int), window.image_rgb[..., 2].astype(int)
    contrast = (red - blue)[inside].mean() - (red - blue)[hidden > 0].mean()
    is_grey = np.ptp(window.image_rgb.astype(int), axis=2).max() < 12
    assert is_grey or contrast > 20


def test_without_randomness_a_window_is_what_the_runtime_cuts():
    scene = red_disc_scene()
    box = visible_box(scene)
    window = make_window(scene, 0, box, WINDOW, image_size=64, target_size=16)
    # The visible half disc is 20 wide and 39 high: 29 to 49 and 29 to 68, so the side is 78.
    np.testing.assert_allclose(window.box_xyxy[3] - window.box_xyxy[1], 39 * 64 / 78)
    assert window.amodal_mask.shape == (16, 16)
    share = window.visible_mask.sum() / window.amodal_mask.sum()
    assert abs(share - scene.visible_masks.sum() / scene.amodal_masks.sum()) < 0.08


def test_a_window_beyond_a_small_image_has_empty_masks_there():
    mask = np.ones((1, 10, 40), bool)
    scene = Scene(np.zeros((10, 40, 3), np.uint8), mask, mask, np.array([True]))
    box = np.array([0, 0, 40, 10], np.float32)
    window = make_window(scene, 0, box, WINDOW, image_size=40, target_size=40)
    # The image lies in the middle of a window of 40 x 40: 15 rows above and below it.
    assert window.amodal_mask.sum() == 400
    assert window.amodal_mask[15:25].all()


def test_a_camera_keeps_type_and_size_and_repeats_with_its_seed():
    image = np.random.default_rng(0).integers(0, 255, (37, 51, 3), dtype=np.uint8)
    seen = [see_through_camera(image, np.random.default_rng(seed)) for seed in range(40)]
    assert all(pixels.shape == image.shape and pixels.dtype == np.uint8 for pixels in seen)
    again = see_through_camera(image, np.random.default_rng(7))
    np.testing.assert_array_equal(again, seen[7])
    assert len({pixels.tobytes() for pixels in seen}) == 40
    # Some cameras are grey, most are not.
    num_grey = sum(bool((np.ptp(pixels.astype(int), axis=2) < 3).all()) for pixels in seen)
    assert 0 < num_grey < 20


def test_sets_with_visible_masks_alone_teach_these(tmp_path):
    # As plain COCO instances the drawn scenes have visible masks alone.
    write_drawn_scenes(tmp_path / "plain")
    sources = open_sources(
        [DataSource(str(tmp_path / "plain"), "coco_instances")], needs_amodal=False
    )
    samples = TrainingSamples(
        sources,
        SampleOptions(boxes_per_image=4, augment=False),
        image_size=64,
        seed=0,
        framing=WINDOW,
    )
    batch = collate([samples[Draw((1,), 0, 0)], samples[Draw((2,), 0, 1)]])
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["boxes_xyxy"].shape == (4, 1, 4)
    assert not batch["has_amodal"].any()
    assert batch["is_valid"].all()
    with pytest.raises(ValueError, match="must have amodal masks to teach whole shapes"):
        open_sources([DataSource(str(tmp_path / "plain"), "coco_instances")])


def test_isolated_objects_of_sets_with_visible_masks_teach_whole_ones_if_asked(tmp_path):
    # Two squares touch each other, the third is on its own.
    boxes = [(10, 20, 40, 40), (50, 20, 40, 40), (130, 20, 40, 40)]
    cv2.imwrite(str(tmp_path / "0.png"), np.full((80, 200, 3), 90, np.uint8))
    write_coco_instances(tmp_path / "annotations.json", boxes)
    sources = open_sources([DataSource(str(tmp_path), "coco_instances")], needs_amodal=False)
    options = SampleOptions(boxes_per_image=3, augment=False, isolated_as_whole=True)
    samples = TrainingSamples(sources, options, image_size=64, seed=0, framing=WINDOW)
    batch = collate([samples[Draw((1,), 0, 0)]])
    is_whole = batch["has_amodal"][:, 0]
    assert is_whole.sum() == 1
    assert torch.equal(batch["amodal"][is_whole], batch["visible"][is_whole])


def write_coco_instances(path, boxes_xywh):
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "bbox": [x, y, width, height],
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
            "area": width * height,
            "iscrowd": 0,
        }
        for number, (x, y, width, height) in enumerate(boxes_xywh, start=1)
    ]
    images = [{"id": 1, "file_name": "0.png", "height": 80, "width": 200}]
    categories = [{"id": 1, "name": "square"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(document))


def make_batch(num_windows, known):
    scene = red_disc_scene()
    window = make_window(scene, 0, visible_box(scene), WINDOW, image_size=64, target_size=32)
    return {
        "image": torch.from_numpy(window.image_rgb.transpose(2, 0, 1).copy())[None].repeat(
            num_windows, 1, 1, 1
        ),
        "embedding": torch.zeros(0, 1, 1, 1),
        "is_cached": torch.zeros(num_windows, dtype=torch.bool),
        "boxes_xyxy": torch.from_numpy(window.box_xyxy)[None, None].repeat(num_windows, 1, 1),
        "amodal": torch.from_numpy(window.amodal_mask)[None, None].repeat(num_windows, 1, 1, 1),
        "visible": torch.from_numpy(window.visible_mask)[None, None].repeat(num_windows, 1, 1, 1),
        "has_amodal": torch.tensor(known)[:, None],
        "is_valid": torch.ones(num_windows, 1, dtype=torch.bool),
    }


def test_an_unknown_whole_shape_has_no_part_in_the_loss(tmp_path):
    torch.manual_seed(0)
    model = build_sameo("sameo_lite", 64)
    step = TrainingStep(model, make_config(tmp_path, preset="sameo_lite"))

    def total(batch):
        return step(batch)[0]["total"]

    unknown = make_batch(2, [False, False])
    nonsense = {**unknown, "amodal": ~unknown["amodal"]}
    torch.testing.assert_close(total(unknown), total(nonsense))
    known = make_batch(2, [True, True])
    assert total(known) > total(unknown)
    # Half of the windows' whole shapes are known: half of what these add.
    half = make_batch(2, [True, False])
    expected = (total(known) + total(unknown)) / 2
    torch.testing.assert_close(total(half), expected, rtol=1e-4, atol=1e-5)


def test_frozen_blocks_of_the_backbone_stay_as_they_are(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    model = build_sameo("sameo_lite", 64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = make_config(tmp_path, preset="sameo_lite", steps=1, trainable=PARTS, frozen_blocks=3)
    train(config, model, make_sources(images))
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    frozen = tuple(
        f"image_encoder.backbone.{part}." for part in ("stem", *(f"blocks.{i}" for i in range(3)))
    )
    assert not any(name.startswith(frozen) for name in moved)
    assert "image_encoder.backbone.blocks.3.project.conv.weight" in moved


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_overfits_both_masks_of_windows(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    torch.manual_seed(0)
    model = build_sameo("sameo_lite", 64)
    config = make_config(
        tmp_path,
        preset="sameo_lite",
        steps=80,
        frozen_depthwise=True,  # a third of the time
        log_interval=50,
        samples={"boxes_per_image": 4, "augment": False},
    )
    before = evaluate_masks(wrap_model(model), images)
    train(config, model, make_sources(images))
    scores = evaluate_masks(wrap_model(model), images)
    assert max(before["miou_full"], before["miou_visible"]) < 0.6
    assert scores["miou_full"] > 0.75
    assert scores["miou_visible"] > 0.7
