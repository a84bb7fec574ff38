"""Quality control on hand-drawn masks."""

from __future__ import annotations

import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.filters import RULES, apply_rules, rule_from_config
from tests.sameo_model.data import fabricate as fab


def rectangle(rows, columns, hw=(8, 10)):
    mask = np.zeros(hw, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def write(tmp_path, *masks, categories=None):
    """Write (amodal, visible) pairs, each in an image of its own."""
    images = [fab.image_entry(f"{n}.png", n) for n in range(1, len(masks) + 1)]
    names = categories or ["box"] * len(masks)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
    records = []
    for n, (amodal, visible) in enumerate(masks, start=1):
        record = fab.annotation(n, n, numbers[names[n - 1]], segmentation=fab.rle(amodal))
        if visible is not None:
            record["visible_mask"] = fab.rle(visible)
        records.append(record)
    document = fab.flat(images, records, {number: name for name, number in numbers.items()})
    fab.save_json(tmp_path / "annotations.json", document)
    return open_dataset("amodal_coco", tmp_path)


def kept(dataset, **rule):
    view, report = apply_rules(dataset, [rule_from_config(rule)])
    ids = [instance.annotation_id for image in view for instance in image.instances]
    assert report[0].num_removed == len(dataset.instance_table) - len(ids)
    return ids


def test_objects_of_which_less_than_the_share_is_seen_are_dropped(tmp_path):
    whole = rectangle((0, 5), (0, 8))  # 40 pixels: a tenth is 4.
    dataset = write(
        tmp_path,
        (whole, rectangle((0, 1), (0, 3))),  # 3 of 40 = 7.5 %
        (whole, rectangle((0, 1), (0, 4))),  # 4 of 40 = 10 %: "under 10 %" is dropped, this stays
        (whole, rectangle((0, 1), (0, 5))),  # 5 of 40
        (whole, None),  # unknown
    )
    assert kept(dataset, rule="min_visible_share", value=0.1) == [2, 3, 4]


def test_objects_hidden_beyond_the_rate_are_dropped(tmp_path):
    whole = rectangle((0, 5), (0, 8))
    dataset = write(
        tmp_path,
        (whole, whole),
        (whole, rectangle((0, 2), (0, 6))),  # 12 seen, 28 hidden: exactly 70 %
        (whole, rectangle((0, 1), (0, 8))),  # 8 seen, 32 hidden: 80 %
        (whole, None),
    )
    assert kept(dataset, rule="max_occlusion_rate", value=0.7) == [1, 2, 4]


def test_objects_that_fill_the_image_are_dropped_by_their_amodal_area(tmp_path):
    # The image has 80 pixels, 90 % are 72.
    filling = rectangle((0, 8), (0, 10))
    dataset = write(
        tmp_path,
        (rectangle((0, 8), (0, 9)), rectangle((0, 8), (0, 9))),  # 72 pixels: exactly 90 %
        (filling, filling),
        (filling, rectangle((0, 1), (0, 9))),
    )
    assert kept(dataset, rule="max_image_share", value=0.9) == [1]


def test_classes_are_dropped_by_pattern(tmp_path):
    names = ["wall", "Walls ", "wall clock", "drywall", "default (3)"]
    dataset = write(tmp_path, *[(fab.BACK, fab.BACK)] * 5, categories=names)
    assert kept(dataset, rule="exclude_categories", patterns=["wall", "walls", "default*"]) == [
        3,
        4,
    ]


def test_stuff_is_dropped(tmp_path):
    fab.cocoa(tmp_path)
    path = tmp_path / "annotations" / "COCO_amodal_val2014.json"
    content = fab.json.loads(path.read_text())
    content["annotations"][0]["regions"][1]["isStuff"] = 1
    fab.save_json(path, content)
    assert kept(open_dataset("cocoa", tmp_path), rule="exclude_stuff") == [1]
    # The configured rules of COCOA hold just this one.
    (image,) = open_dataset("cocoa", tmp_path, quality_control=True)
    assert [instance.category for instance in image.instances] == ["cup"]


def test_an_instance_counts_for_the_first_rule_that_it_breaks(tmp_path):
    filling = rectangle((0, 8), (0, 10))
    dataset = write(
        tmp_path,
        (filling, rectangle((0, 1), (0, 1))),  # breaks both rules
        (filling, filling),  # breaks the second
        (fab.BACK, fab.BACK),
    )
    rules = [
        rule_from_config({"rule": "min_visible_share", "value": 0.1}),
        rule_from_config({"rule": "max_image_share", "value": 0.9}),
    ]
    view, report = apply_rules(dataset, rules)
    assert [(item.rule, item.num_removed) for item in report] == [
        ("min_visible_share", 1),
        ("max_image_share", 1),
    ]
    # Images that show nothing any more go too.
    assert [image.image_id for image in view] == [3]


def test_modal_sets_are_judged_by_their_visible_area(tmp_path):
    fab.lvis(tmp_path)
    dataset = open_dataset("lvis", tmp_path)
    # 16 of 80 pixels are 20 %.
    assert kept(dataset, rule="max_image_share", value=0.2) == [1]
    assert kept(dataset, rule="max_image_share", value=0.19) == []
    assert kept(dataset, rule="min_visible_share", value=0.5) == [1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"rule": "min_area"}, "rule must be one of exclude_categories, .* got 'min_area'"),
        ({"rule": "min_visible_share"}, r"must have the options \['value'\], got \[\]"),
        ({"rule": "exclude_stuff", "value": 1}, r"options \[\], got \['value'\]"),
    ],
)
def test_wrong_rules_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        rule_from_config(entry)


def test_all_rules_are_tested_here():
    assert set(RULES) == {
        "min_visible_share",
        "max_occlusion_rate",
        "max_image_share",
        "exclude_categories",
        "exclude_stuff",
    }
