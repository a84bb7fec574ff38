"""Which objects count as complete, with a model whose amodal mask is the box itself."""

from __future__ import annotations

import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.synthesis.complete_objects import (
    NO_MODEL,
    CompletenessRule,
    default_rule,
    load_pool,
    score_objects,
)
from tests.bundles import make_tiny_bundle
from tests.sameo_model.data import fabricate as fab

HW = (40, 60)
# Each object, and whether the tiny model's answer, its box, agrees with it.
RECTANGLE = [4, 4, 24, 4, 24, 14, 4, 14]  # fills its box: IoU 1
TRIANGLE = [30, 4, 50, 4, 30, 24]  # half of its box
AT_BORDER = [50, 25, 60, 25, 60, 40, 50, 40]  # fills its box, touches right and bottom border
NEIGHBOUR = [4, 14, 24, 14, 24, 24, 4, 24]  # fills its box, shares an edge with RECTANGLE
SMALL = [30, 30, 34, 30, 34, 34, 30, 34]  # 16 pixels


@pytest.fixture
def dataset(tmp_path):
    entries = []
    for number in (1, 2):
        fab.save_image(tmp_path / "lvis" / "val2017" / f"{number}.jpg", HW)
        entry = {"id": number, "coco_url": f"http://a.org/val2017/{number}.jpg"}
        entries.append({**entry, "height": HW[0], "width": HW[1]})
    shapes = [RECTANGLE, TRIANGLE, AT_BORDER, NEIGHBOUR, SMALL]
    records = [fab.annotation(n, 1, segmentation=[s]) for n, s in enumerate(shapes, start=1)]
    # The second photograph shows one whole object.
    records.append(fab.annotation(6, 2, segmentation=[RECTANGLE]))
    content = {"images": entries, "annotations": records, "categories": [{"id": 1, "name": "a"}]}
    fab.save_json(tmp_path / "lvis" / "lvis_v1_val.json", content)
    return open_dataset("lvis", tmp_path / "lvis")


def score(dataset, tmp_path, **changes):
    model = changes.pop("model", None) or str(make_tiny_bundle(tmp_path / "bundle"))
    settings = {"backend": "onnxruntime", "workers": 1, "shard": (0, 1), "model": model}
    rule = CompletenessRule(min_area=50)
    score_objects([dataset], tmp_path / "scores", rule=rule, **{**settings, **changes})


def chosen(dataset, tmp_path, **rule):
    pool = load_pool([dataset], tmp_path / "scores", CompletenessRule(**rule), seed=0)
    return sorted(pool["instance_index"][pool["image_index"] == 0].tolist())


def scores_of_the_first_photograph(tmp_path):
    rows = np.load(next((tmp_path / "scores").glob("*.npy")))
    return rows[rows["image_index"] == 0]


def test_objects_that_the_model_would_complete_or_the_border_cuts_are_left_out(dataset, tmp_path):
    score(dataset, tmp_path)
    assert chosen(dataset, tmp_path, min_iou=0.9) == [0, 3]
    assert chosen(dataset, tmp_path, min_iou=0.9, allow_border=True) == [0, 2, 3]
    # The triangle has half of its box's pixels; below that it counts as complete.
    assert chosen(dataset, tmp_path, min_iou=0.4) == [0, 1, 3]


def test_scores_are_the_iou_with_the_models_amodal_mask(dataset, tmp_path):
    score(dataset, tmp_path)
    rows = scores_of_the_first_photograph(tmp_path)
    # The small object is below the least area of 50 pixels.
    assert rows["instance_index"].tolist() == [0, 1, 2, 3]
    assert rows["iou"][[0, 2, 3]] == pytest.approx(1.0, abs=0.1)
    assert rows["iou"][1] == pytest.approx(0.5, abs=0.06)
    assert rows["touches_border"].tolist() == [False, False, True, False]


def test_the_share_of_the_outline_that_neighbours_touch_can_decide(dataset, tmp_path):
    score(dataset, tmp_path, model=NO_MODEL)
    rows = scores_of_the_first_photograph(tmp_path)
    # The ring around 20 x 10 pixels has 2 * (20 + 10) + 4 = 64; the neighbour fills 20 of them.
    assert rows["contact_share"].tolist() == pytest.approx([20 / 64, 0, 0, 20 / 64])
    assert chosen(dataset, tmp_path, max_contact_share=0.3, allow_border=True) == [1, 2]


@pytest.mark.parametrize(("model", "expected"), [(NO_MODEL, [1]), ("a bundle", [0, 1, 3])])
def test_without_a_model_objects_that_touch_others_are_not_complete(
    dataset, tmp_path, model, expected
):
    score(dataset, tmp_path, model=NO_MODEL)
    rule = default_rule(model)
    pool = load_pool([dataset], tmp_path / "scores", rule, seed=0)
    assert sorted(pool["instance_index"][pool["image_index"] == 0].tolist()) == expected


def test_scored_blocks_are_kept(dataset, tmp_path):
    score(dataset, tmp_path, model=NO_MODEL)
    path = next((tmp_path / "scores").glob("*.npy"))
    before = path.stat().st_mtime_ns
    # A model that does not exist would fail if anything were predicted again.
    score(dataset, tmp_path, model="no such model")
    assert path.stat().st_mtime_ns == before


def test_blocks_of_other_shards_must_be_there_before_composing(dataset, tmp_path):
    score(dataset, tmp_path, model=NO_MODEL, shard=(0, 2))
    with pytest.raises(FileNotFoundError, match="1 are not; run `--stage complete`"):
        chosen(dataset, tmp_path)
    score(dataset, tmp_path, model=NO_MODEL, shard=(1, 2))
    assert chosen(dataset, tmp_path) == [0, 1, 3]


def test_objects_of_too_few_photographs_are_refused(dataset, tmp_path):
    # Of the first photograph, rectangle and neighbour touch, and the triangle is not complete.
    score(dataset, tmp_path)
    with pytest.raises(ValueError, match="at least 2 photographs, got 1 objects of 1"):
        chosen(dataset, tmp_path, min_iou=0.9, max_contact_share=0.0)


def test_objects_whose_photograph_is_damaged_are_not_scored(dataset, tmp_path):
    dataset[0].path.write_bytes(b"no photograph")
    score(dataset, tmp_path)
    assert len(scores_of_the_first_photograph(tmp_path)) == 0


def test_objects_whose_photograph_is_missing_are_not_scored(dataset, tmp_path):
    dataset[0].path.unlink()
    score(dataset, tmp_path, model=NO_MODEL)
    assert len(scores_of_the_first_photograph(tmp_path)) == 0
