"""Files with random damage end in a data set or in a sentence, never in a crash."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from typing import Any

import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.types import DatasetFormatError
from tests.sameo_model.data import fabricate as fab

SETS = {
    "cocoa": fab.cocoa,
    "cocoa_cls": fab.cocoa_cls,
    "d2sa": fab.d2sa,
    "kins": fab.kins_2020,
    "kitti360_aps polygons": fab.kitti360_polygons,
    "kitti360_aps panoptic": fab.kitti360_panoptic,
    "muva": fab.muva,
    "walt_raw": fab.walt_raw,
    "dyce": fab.dyce,
    "mp3d_amodal": fab.mp3d_amodal,
    "amodal_coco": fab.amodal_coco,
    "lvis": fab.lvis,
    "lvvis": fab.lvvis,
    "coco_instances": fab.coco_instances,
}
ODD = (
    *(None, True, -1, 0, 2**70, 1e30, float("nan"), float("inf"), "", "x", [], {}, [[]], [None]),
    *([1, 2, 3], [[float("nan")] * 6], {"counts": "", "size": [0, 0]}),
    *({"counts": [3, -3, 80], "size": [8, 10]}, {"counts": [10**9], "size": [10**9, 1]}),
)
NUM_TRIALS = 25


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """All ways down into a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((*path, key))
        if isinstance(inner, (dict, list)):
            found += places(inner, (*path, key))
    return found


def damage(document: Any, chance: random.Random) -> Any:
    """Remove one value of a document, or put an odd one in its place."""
    *way, last = chance.choice(places(document))
    owner = document
    for key in way:
        owner = owner[key]
    if chance.random() < 0.25:
        del owner[last]
    else:
        owner[last] = chance.choice(ODD)
    return document


def damage_file(path, chance: random.Random) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(damage(json.loads(path.read_text()), chance)))
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(damage(pickle.loads(path.read_bytes()), chance)))
    else:
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)


@pytest.mark.parametrize("name", SETS)
def test_damage_costs_records_or_is_told_in_a_sentence(tmp_path, name):
    chance = random.Random(name)
    outcomes, refusals = set(), []
    for trial in range(NUM_TRIALS):
        root = tmp_path / str(trial)
        SETS[name](root)
        lists = [
            path for path in sorted(root.rglob("*")) if path.suffix in (".json", ".pkl", ".txt")
        ]
        damage_file(chance.choice(lists), chance)
        try:
            dataset = open_dataset(name.split()[0], root)
        except (DatasetFormatError, FileNotFoundError) as error:
            refusals.append(str(error))
        else:
            for image in dataset:
                for instance in image.instances:
                    assert instance.visible_rle is None or instance.visible_mask().any()
            outcomes.add("skipped" if dataset.defects else "read")
        shutil.rmtree(root)
    assert all(len(sentence) > 40 for sentence in refusals)
    assert len(outcomes) + bool(refusals) >= 2


@pytest.mark.parametrize("side", [0, -1, 70_000, 2**70, 1e30, float("inf"), float("nan")])
def test_images_of_impossible_size_are_refused(tmp_path, side):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    content["images"][0]["height"] = side
    fab.save_json(path, content)
    with pytest.raises(DatasetFormatError, match=r"must have (sides from 1 to 65535 pixels|id, h)"):
        open_dataset("amodal_coco", tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bbox", [[1], 2, 3, 4]),
        ("bbox", "wide"),
        ("id", 2**70),
        ("segmentation", {"size": [10**9, 1], "counts": [10**9]}),
        ("image_id", [42]),
        ("segmentation", {"size": [float("inf"), 1], "counts": "x"}),
    ],
    ids=str,
)
def test_one_odd_field_leaves_the_other_records(tmp_path, field, value):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][1][field] = value
    fab.save_json(path, content)
    dataset = open_dataset("amodal_coco", tmp_path)
    (image,) = dataset
    is_repaired = field in ("bbox", "id")
    assert len(image.instances) == (2 if is_repaired else 1)
    assert sum(entry["count"] for entry in dataset.defects.values()) == 1
