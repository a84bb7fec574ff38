import json

import cv2
import numpy as np
import pytest

from sameo_ros.image_source import find_images, load_image


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg", "c.PNG"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def write(folder, content):
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def test_images_with_boxes_come_in_the_order_of_their_names(folder):
    boxes = write(folder, {"b.png": [{"box": [0, 0, 4, 4], "class": "mug"}], "a.jpg": []})
    first, second = find_images(folder, boxes)
    assert (first.name, first.prompts) == ("a", [])
    assert second.path == folder / "b.png"
    assert second.prompts[0].class_id == "mug"


def test_without_boxes_every_image_comes(folder):
    images = find_images(folder, None)
    assert [(one.name, one.prompts) for one in images] == [("a", []), ("b", []), ("c", [])]


def test_one_image_takes_boxes_without_a_name(folder):
    (image,) = find_images(folder / "b.png", "0,0,4,4;1,1,2,2")
    assert [prompt.box_xyxy for prompt in image.prompts] == [(0, 0, 4, 4), (1, 1, 2, 2)]


def test_several_images_need_boxes_that_name_them(folder):
    with pytest.raises(ValueError, match=r"boxes for the 3 images .* must name their images"):
        find_images(folder, "0,0,4,4")


def test_boxes_of_other_images_are_refused(folder):
    with pytest.raises(ValueError, match="the boxes name none of the images in"):
        find_images(folder, write(folder, {"z.png": []}))


def test_what_is_left_out_is_said(folder, caplog):
    find_images(folder, write(folder, {"b.png": [], "gone.png": []}))
    assert "left out, as they have no boxes: 2 images: a.jpg, c.PNG" in caplog.text
    assert "boxes left out, as their images are not in" in caplog.text


def test_boxes_of_another_folder_are_refused(folder):
    with pytest.raises(ValueError, match=r"they name other/b.png, not .*/b.png; check"):
        find_images(folder, write(folder, {"other/b.png": []}))


def test_images_that_results_would_name_alike_are_refused(folder):
    (folder / "b.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="must differ in more than their suffix"):
        find_images(folder, write(folder, {"b.png": [], "b.jpg": []}))


def test_a_damaged_image_is_named(folder):
    (folder / "b.png").write_bytes(b"no image")
    (image,) = find_images(folder / "b.png", "0,0,4,4")
    with pytest.raises(ValueError, match=r"b\.png cannot be read"):
        load_image(image)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is neither an image nor a folder"):
        find_images(tmp_path / "nowhere", "0,0,4,4")


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no image"):
        find_images(tmp_path, "0,0,4,4")


def write_cameras(folder, content):
    (folder.parent / "cameras.json").write_text(json.dumps(content))


@pytest.fixture
def scenes(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "a.png"), np.zeros((8, 8, 3), np.uint8))
    return images


def test_rendered_scenes_bring_their_depth(scenes):
    intrinsics = [[100.0, 0, 320], [0, 110.0, 240], [0, 0, 1]]
    camera = {"file_name": "a.png", "depth_file_name": "d.png", "intrinsics": intrinsics}
    write_cameras(scenes, [camera])
    (image,) = find_images(scenes, "0,0,4,4")
    assert image.depth.path == scenes.parent / "depth" / "d.png"
    # The centre of the image lies half a pixel before pixel 320, whose centre is 320.0.
    assert image.depth.matrix == [100, 0, 319.5, 0, 110, 239.5, 0, 0, 1]


@pytest.mark.parametrize("content", [[{"file_name": "a.png"}], 5, [5]])
def test_cameras_that_cannot_be_read_are_named(scenes, content):
    write_cameras(scenes, content)
    with pytest.raises(ValueError, match=r"cameras.json must be what `synthesize scenes` writes"):
        find_images(scenes, "0,0,4,4")
