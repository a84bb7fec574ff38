"""Table 1's numbers on masks whose areas can be counted by hand."""

from __future__ import annotations

import pytest

from sameo_model.data.catalogue import Table1Row
from sameo_model.data.collection import open_dataset
from sameo_model.data.statistics import compare_with_paper, compute_statistics, draw_histogram
from tests.sameo_model.data import fabricate as fab


@pytest.fixture
def statistics(tmp_path):
    one_pixel_less = fab.FRONT.copy()
    one_pixel_less[1, 2] = False
    pairs = [
        (1, fab.FRONT, fab.FRONT),  # not occluded
        (1, fab.BACK, fab.BACK_VISIBLE),  # 4 of 20 hidden: 0.2
        (2, fab.FRONT, one_pixel_less),  # 1 of 16 hidden: 0.0625; a single pixel counts
        (2, fab.FRONT, None),  # unknown
    ]
    records = []
    for number, (image_id, amodal, visible) in enumerate(pairs, start=1):
        record = fab.annotation(number, image_id, segmentation=fab.rle(amodal))
        if visible is not None:
            record["visible_mask"] = fab.rle(visible)
        records.append(record)
    images = [fab.image_entry(f"{n}.png", n) for n in (1, 2, 3)]
    fab.save_json(tmp_path / "annotations.json", fab.flat(images, records, {1: "box"}))
    return compute_statistics(open_dataset("amodal_coco", tmp_path))


def test_images_and_instances_are_counted(statistics):
    assert statistics.num_images == 2
    assert statistics.num_images_without_instances == 1
    assert statistics.num_instances == 4
    assert statistics.num_unknown == 1


def test_occlusion_is_averaged_over_occluded_instances_alone(statistics):
    # 2 of the 3 known ones are occluded, by 0.2 and 0.0625.
    assert statistics.poi == pytest.approx(2 / 3)
    assert statistics.mean_ror == pytest.approx((0.2 + 0.0625) / 2)


def test_the_histogram_has_bins_of_five_per_cent(statistics):
    # 0.0625 falls into [0.05, 0.1), 0.2 into [0.2, 0.25).
    assert [n for n, count in enumerate(statistics.histogram) if count] == [1, 4]
    assert sum(statistics.histogram) == 2


def test_the_paper_stands_beside_the_measured_numbers(statistics):
    row = Table1Row(num_instances=10, num_images=2, poi=0.5, mean_ror=0.1)
    comparison = compare_with_paper(statistics, row)
    assert comparison["num_instances"] == {"measured": 4, "paper": 10, "difference": -6}
    assert comparison["poi"]["difference"] == pytest.approx(2 / 3 - 0.5)


def test_a_modal_set_has_no_occlusion_numbers(tmp_path):
    fab.lvis(tmp_path)
    statistics = compute_statistics(open_dataset("lvis", tmp_path))
    assert statistics.num_instances == statistics.num_unknown == 1
    assert statistics.poi is None
    assert statistics.mean_ror is None


def test_the_plot_has_a_bar_for_each_bin():
    (axes,) = draw_histogram([1, 4, 0, 2], "title").axes
    (bars,) = axes.patches
    assert axes.get_title() == "title"
    assert bars.get_data().values.tolist() == [1, 4, 0, 2]
    assert bars.get_data().edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
