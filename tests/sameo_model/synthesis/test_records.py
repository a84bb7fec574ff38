import numpy as np

from sameo_model.data.rle import encode_mask, occlusion_rate, rle_area, rle_box_xywh
from sameo_model.synthesis.records import hiding_pairs


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
