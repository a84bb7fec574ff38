import numpy as np

from sameo_model.data.collection import open_dataset
from sameo_model.data.rle import encode_mask, occlusion_rate, rle_area, rle_box_xywh
from sameo_model.synthesis.cameras import PinholeCamera
from sameo_model.synthesis.records import hiding_pairs, merge_records, write_scene
from sameo_model.synthesis.scenes import RenderedScene, RenderedView
from sameo_model.synthesis.truth import InstanceTruth, ViewTruth


def annotation(number, amodal, visible):
    rle, seen = encode_mask(amodal), encode_mask(visible)
    return {
        "id": number,
        "segmentation": rle,
        "visible_mask": seen,
        "bbox": list(rle_box_xywh(rle)),
        "visible_bbox": list(rle_box_xywh(seen)),
        "occlude_rate": occlusion_rate(rle_area(rle), rle_area(seen)),
    }


def test_who_hides_whom_and_how_much_follows_from_the_masks():
    # 1 lies below, columns 0 to 5; 2 covers its columns 4 and 5; 3 covers column 5 of both; 4 lies
    # apart and only its box touches.
    bottom, middle, top, apart = np.zeros((4, 4, 10), bool)
    bottom[:, 0:6] = middle[:, 4:8] = top[:2, 5] = apart[3, 8] = True
    annotations = [
        annotation(1, bottom, bottom & ~middle & ~top),
        annotation(2, middle, middle & ~top),
        annotation(3, top, top),
        annotation(4, apart, apart),
    ]
    # Of 1, column 4 (4 px) and the lower half of column 5 (2 px) lie under 2, the rest under 3.
    assert hiding_pairs(annotations) == [
        {"front": 2, "back": 1, "hidden_px": 6},
        {"front": 3, "back": 1, "hidden_px": 2},
        {"front": 3, "back": 2, "hidden_px": 2},
    ]


def test_without_occlusion_there_is_no_order():
    mask = np.ones((2, 2), bool)
    assert hiding_pairs([annotation(1, mask, mask)]) == []
    assert hiding_pairs([]) == []


def test_what_can_be_seen_of_other_objects_is_written_as_crowd_regions(tmp_path):
    whole, cut = np.zeros((2, 48, 64), bool)
    whole[10:30, 10:30] = cut[10:30, 60:] = True
    truth = ViewTruth([InstanceTruth(1, whole, whole)], {0: cut}, np.ones((48, 64), np.float32))
    camera = PinholeCamera(np.zeros(3), np.eye(3), 45.0)
    view = RenderedView(camera, np.zeros((48, 64, 3), np.uint8), truth)
    write_scene(tmp_path, 0, RenderedScene(["cup", "box"], [view], {}), {"box": 1, "cup": 2})
    assert merge_records(tmp_path, 1)["annotations"] == 1
    (image,) = open_dataset("amodal_coco", tmp_path / "annotations.json")
    assert [instance.category for instance in image.instances] == ["box"]
    (region,) = image.crowds
    assert region.category == "cup"
    assert region.rle == encode_mask(cut)
