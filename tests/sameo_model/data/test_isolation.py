"""Which objects of plain instance masks count as seen whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model.data.isolation import complete_if_isolated
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion

HEIGHT, WIDTH = 120, 200


def rle(x1, y1, x2, y2):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y1:y2, x1:x2] = 1
    return coco_mask.encode(mask)


def make_object(number, *corners):
    x1, y1, x2, y2 = corners
    box = (x1, y1, x2 - x1, y2 - y1)
    return AmodalInstance(number, "cup", None, rle(*corners), None, box, None)


def make_image(*objects, crowds=()):
    return AmodalImage(1, Path("a.png"), (HEIGHT, WIDTH), objects, "coco_instances", crowds=crowds)


SQUARE = make_object(1, 40, 40, 90, 90)  # 4 % of 50 pixels and 2 pixels: a gap of 4


def test_an_object_on_its_own_is_seen_whole():
    whole = complete_if_isolated(SQUARE, make_image(SQUARE, make_object(2, 150, 40, 190, 90)))
    assert whole.amodal_rle == whole.visible_rle
    assert whole.amodal_box_xywh == (40, 40, 50, 50)
    assert whole.occlusion_rate == 0


@pytest.mark.parametrize(("start", "is_whole"), [(90, False), (93, False), (96, True)])
def test_a_neighbour_must_keep_its_distance(start, is_whole):
    image = make_image(SQUARE, make_object(2, start, 40, 150, 90))
    assert (complete_if_isolated(SQUARE, image).amodal_rle is not None) == is_whole


def test_masks_count_and_not_boxes():
    corner = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    corner[20:110, 20:25] = corner[105:110, 20:110] = 1  # An L around the square.
    around = replace(make_object(2, 20, 20, 110, 110), visible_rle=coco_mask.encode(corner))
    assert complete_if_isolated(SQUARE, make_image(SQUARE, around)).amodal_rle is not None


def test_crowds_may_hide_a_part_too():
    crowd = CrowdRegion(9, "cup", rle(88, 40, 130, 90))
    assert complete_if_isolated(SQUARE, make_image(SQUARE, crowds=(crowd,))).amodal_rle is None


def test_objects_at_the_border_and_of_one_pixel_are_no_error():
    dot = make_object(3, 0, 0, 1, 1)
    edge = make_object(4, 150, 60, WIDTH, HEIGHT)
    image = make_image(dot, edge)
    assert complete_if_isolated(dot, image).amodal_rle is not None
    assert complete_if_isolated(edge, image).amodal_rle is not None


def test_a_known_whole_mask_stays():
    known = replace(SQUARE, amodal_rle=rle(40, 40, 120, 90))
    assert complete_if_isolated(known, make_image(known)) is known
