"""A COCO file is streamed once, and the order of its lists does not change the index."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from sameo_model.data import json_stream
from sameo_model.data.index_build import build_index
from sameo_model.data.readers import READERS
from tests.sameo_model.data import fabricate as fab

COCO_SETS = {
    "cocoa": fab.cocoa,
    "cocoa_cls": fab.cocoa_cls,
    "d2sa": fab.d2sa,
    "kins": fab.kins_2020,
    "kitti360_aps": fab.kitti360_polygons,
    "muva": fab.muva,
    "amodal_coco": fab.amodal_coco,
    "lvis": fab.lvis,
    "lvvis": fab.lvvis,
    "coco_instances": fab.coco_instances,
}


@pytest.fixture
def readings(monkeypatch):
    """Grow by one for each time that a JSON file is streamed from its start."""
    started = []

    class CountingCursor(json_stream._Cursor):
        def __init__(self, file, path):
            started.append(path)
            super().__init__(file, path)

    monkeypatch.setattr(json_stream, "_Cursor", CountingCursor)
    return started


def index_files(name, root, folder):
    """Build an index and return the content of its files."""
    folder.mkdir()
    build_index(READERS[name](root, None), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", COCO_SETS)
def test_a_usual_file_is_streamed_once(tmp_path, readings, name):
    COCO_SETS[name](tmp_path / "set")
    index_files(name, tmp_path / "set", tmp_path / "index")
    assert len(readings) == 1


def test_every_order_of_the_lists_gives_the_same_index(tmp_path, readings):
    images = [fab.image_entry(f"{number}.png", number) for number in (2, 1)]
    # Image 3 is not listed.
    annotations = [
        fab.annotation(number, image_id, number % 2 + 1, segmentation=fab.rle(fab.BACK))
        | {"visible_mask": fab.rle(fab.BACK_VISIBLE)}
        for number, image_id in enumerate((1, 2, 3, 1), start=1)
    ]
    document = fab.flat(images, annotations, {2: "box", 1: "mug"})
    root = tmp_path / "set"
    root.mkdir()
    indices, num_readings = [], {}
    for order in permutations(document):
        readings.clear()
        fab.save_json(root / "annotations.json", {key: document[key] for key in order})
        indices.append(index_files("amodal_coco", root, tmp_path / "-".join(order)))
        num_readings[order] = len(readings)
    assert all(index == indices[0] for index in indices)
    assert json.loads(indices[0]["meta.json"])["num_instances"] == 3
    for order, count in num_readings.items():
        images_come_first = order.index("images") < order.index("annotations")
        assert count == (1 if images_come_first else 2)
