"""Samples of the box detector: the object under each cell, and parts of images."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sameo_model.data.rle import encode_mask
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion
from sameo_model.modeling.box_detector import cell_grid
from sameo_model.training.box_samples import (
    BoxSamples,
    BoxScene,
    collate_boxes,
    load_box_scene,
    make_targets,
)
from sameo_model.training.config import BoxOptions
from sameo_model.training.sample_plan import Draw, TrainingSet
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes

SIDE = 64
CENTRES = cell_grid(SIDE, SIDE)[0].numpy()


def make_scene(*masks, **changes):
    """Objects on an image of the network's size, of which the whole is visible."""
    visible = np.array(masks)
    values = {
        "image_rgb": np.full((*visible.shape[1:], 3), 90, np.uint8),
        "visible_masks": visible,
        "amodal_masks": visible,
        "has_amodal": np.ones(len(visible), bool),
        "areas": visible.sum((1, 2)),
        "is_wanted": np.ones(len(visible), bool),
    }
    return BoxScene(**{**values, **changes})


def rectangle(x1, y1, x2, y2, hw=(SIDE, SIDE)):
    mask = np.zeros(hw, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def test_cells_carry_the_object_under_their_centre():
    left, right = rectangle(0, 0, 32, 64), rectangle(40, 8, 64, 40)
    cells = make_targets(make_scene(left, right), SIDE)["cells"].numpy()
    x, y = CENTRES.T
    expected = np.where(x < 32, 1, np.where((x >= 40) & (y >= 8) & (y < 40), 2, 0))
    assert cells.tolist() == expected.tolist()


def test_boxes_belong_to_the_squashed_image():
    mask = rectangle(10, 5, 20, 25, hw=(32, 128))
    whole = rectangle(0, 5, 20, 25, hw=(32, 128))
    scene = make_scene(mask, amodal_masks=whole[None])
    targets = make_targets(scene, SIDE)
    # 128 x 32 becomes 64 x 64: half the width, twice the height.
    assert targets["visible_xyxy"].tolist() == [[5, 10, 10, 50]]
    assert targets["amodal_xyxy"].tolist() == [[0, 10, 10, 50]]
    assert targets["image"].shape == (3, SIDE, SIDE)


def test_an_object_between_the_centres_gets_the_nearest_cell():
    # No centre of a cell (4, 12, ...; 8, 24, ...; 16, 48) lies on this bar of 60 x 2 pixels.
    bar = rectangle(2, 29, 62, 31)
    cells = make_targets(make_scene(bar), SIDE)["cells"].numpy()
    (cell,) = np.flatnonzero(cells)
    assert CENTRES[cell].tolist() in ([28.0, 28.0], [36.0, 28.0], [28.0, 32.0], [36.0, 32.0])


@pytest.mark.parametrize(
    "changes",
    [{"is_wanted": np.array([False, True])}, {"areas": np.array([64 * 64 * 8, 256])}],
    ids=["unwanted", "cut by the border"],
)
def test_what_is_not_to_be_learned_is_neither_object_nor_background(changes):
    first, second = rectangle(0, 0, 32, 32), rectangle(40, 40, 56, 56)
    targets = make_targets(make_scene(first, second, **changes), SIDE)
    assert targets["visible_xyxy"].tolist() == [[40, 40, 56, 56]]
    x, y = CENTRES.T
    assert (targets["cells"].numpy()[(x < 32) & (y < 32)] == -1).all()
    assert set(targets["cells"].tolist()) == {-1, 0, 1}


def test_crowds_and_named_classes_are_unwanted_and_visible_masks_alone_have_no_whole(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    rles = [encode_mask(rectangle(x, 0, x + 2, 8, hw=(8, 8))) for x in (0, 2, 4)]
    instances = (
        AmodalInstance(1, "cup", None, rles[0], None, None, None),
        AmodalInstance(2, "person", None, rles[1], None, None, None),
    )
    crowds = (CrowdRegion(3, "cup", rles[2]),)
    image = AmodalImage(1, path, (8, 8), instances, "coco_instances", (), crowds)
    scene = load_box_scene(image, unwanted=["person"])
    assert scene.is_wanted.tolist() == [True, False, False]
    assert scene.has_amodal.tolist() == [False, False, False]
    assert scene.areas.tolist() == [16, 16, 16]


def make_samples(images, seed=0, **options):
    options = {"side": 64, **options}
    return BoxSamples([TrainingSet(images)], BoxOptions(**options), image_size=96, seed=seed)


def test_a_sample_depends_on_draw_and_seed_alone(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    samples = make_samples(images)
    first, again = samples[Draw((3,), 0, 1)], make_samples(images)[Draw((3,), 0, 1)]
    other, reseeded = samples[Draw((4,), 0, 1)], make_samples(images, seed=1)[Draw((3,), 0, 1)]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["cells"], again["cells"])
    assert not torch.equal(first["image"], other["image"])
    assert not torch.equal(first["image"], reseeded["image"])


def test_boxes_of_turned_parts_enclose_the_cells_of_their_objects(tmp_path):
    samples = make_samples(write_drawn_scenes(tmp_path / "data"))
    num_seen = 0
    for number in range(30):
        sample = samples[Draw((number,), 0, 0)]
        x, y = CENTRES.T
        for row, (x1, y1, x2, y2) in enumerate(sample["visible_xyxy"].tolist(), start=1):
            chosen = sample["cells"].numpy() == row
            outside = (x < x1 - 5) | (x > x2 + 5) | (y < y1 - 5) | (y > y2 + 5)
            assert not (chosen & outside).any()
            num_seen += chosen.any()
    assert num_seen > 20


def test_empty_images_come_as_often_as_asked(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    empty = tmp_path / "empty"
    empty.mkdir()
    cv2.imwrite(str(empty / "wall.png"), np.full((50, 70, 3), 200, np.uint8))
    samples = make_samples(images, empty_images=(str(empty),), empty_share=0.5)
    drawn = [samples[Draw((number,), 0, 0)] for number in range(60)]
    is_empty = [Path(sample["path"]).name == "wall.png" for sample in drawn]
    assert 20 <= sum(is_empty) <= 40
    assert not any(s["cells"].any() for s, e in zip(drawn, is_empty, strict=True) if e)


def test_half_of_the_images_without_objects_are_cloths_with_prints(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    for name, colour in (("empty", 0), ("prints", 255)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / f"{name}.png"), np.full((50, 70, 3), colour, np.uint8))
    options = {name: (str(tmp_path / name.split("_")[0]),) for name in ("empty_images", "prints")}
    samples = make_samples(images, **options, empty_share=0.9)
    drawn = [samples[Draw((number,), 0, 0)] for number in range(60)]
    brightness = {
        name: [float(s["image"].float().mean()) for s in drawn if Path(s["path"]).stem == name]
        for name in ("empty", "prints")
    }
    assert min(map(len, brightness.values())) >= 15
    assert max(brightness["empty"]) < min(brightness["prints"])


@pytest.mark.parametrize("key", ["empty_images", "prints"])
def test_a_folder_without_images_is_refused(tmp_path, key):
    images = write_drawn_scenes(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=f"boxes.{key} must name folders with images"):
        make_samples(images, **{key: (str(tmp_path),)})


def test_an_unreadable_image_is_replaced_and_named(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    images[0].path.write_bytes(b"no image")
    sample = make_samples(images)[Draw((0,), 0, 0)]
    assert Path(sample["path"]).name == "1.png"
    assert list(sample["unreadable"]) == [str(images[0].path)]


def test_a_batch_is_padded_to_the_most_objects():
    samples = [
        {
            **make_targets(make_scene(*masks), SIDE),
            "is_complete": True,
            "path": "",
            "unreadable": {},
        }
        for masks in (
            [rectangle(0, 0, 32, 32)],
            [rectangle(0, 0, 32, 32), rectangle(32, 32, 64, 64)],
        )
    ]
    (batch,) = collate_boxes(samples)
    assert batch["visible_xyxy"].shape == (2, 2, 4)
    assert batch["visible_xyxy"][0, 1].tolist() == [0, 0, 0, 0]
    assert batch["image"].dtype == torch.uint8
