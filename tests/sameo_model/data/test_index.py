"""The index: views, pickling, cache and workers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sameo_model.data import index_cache
from sameo_model.data.amodal_coco_writer import write_amodal_coco
from sameo_model.data.collection import open_dataset
from sameo_model.data.conversion import convert_dataset
from sameo_model.data.index_cache import open_index
from sameo_model.data.index_format import FORMAT_VERSION
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.types import DatasetFormatError
from tests.sameo_model.data import fabricate as fab


def write_many(root, num_images=30):
    """Write a set whose image n shows n % 3 objects; annotations come before images."""
    records = []
    for number in range(1, num_images + 1):
        for _ in range(number % 3):
            record = fab.annotation(len(records) + 1, number, segmentation=fab.rle(fab.BACK))
            record["visible_mask"] = fab.rle(fab.BACK_VISIBLE)
            records.append(record)
    images = [fab.image_entry(f"{n}.png", n) for n in range(1, num_images + 1)]
    content = {"annotations": records[::-1], "categories": [], "images": images}
    fab.save_json(root / "annotations.json", content)
    return root


@pytest.fixture
def cached(monkeypatch):
    """Treat even small files as large ones, whose index is kept."""
    monkeypatch.setattr(index_cache, "UNCACHED_BYTES", 0)


def shape_of(dataset):
    return [(image.image_id, len(image.instances)) for image in dataset]


def test_instances_find_their_image_whatever_the_order_of_the_file(tmp_path):
    dataset = open_dataset("amodal_coco", write_many(tmp_path))
    assert shape_of(dataset) == [(n, n % 3) for n in range(1, 31)]
    assert dataset.num_instances_per_image().tolist() == [n % 3 for n in range(1, 31)]


def test_a_sequence_has_slices_negative_indices_and_an_end(tmp_path):
    dataset = open_dataset("amodal_coco", write_many(tmp_path))
    assert [image.image_id for image in dataset[3:5]] == [4, 5]
    assert dataset[-1].image_id == 30
    with pytest.raises(IndexError):
        dataset[30]


def test_a_view_shows_some_instances_of_some_images(tmp_path):
    dataset = open_dataset("amodal_coco", write_many(tmp_path))
    keep = dataset.instance_table["annotation_id"] % 2 == 0
    view = dataset.take(slice(10)).select(keep, drop_empty=True)
    shown = [instance.annotation_id for image in view for instance in image.instances]
    # Images 1 to 10 have 10 objects with the ids 1 to 10.
    assert sorted(shown) == [2, 4, 6, 8, 10]
    assert all(image.instances for image in view)
    assert view.shown_instances().sum() == 5
    # A view of a view shows what both show.
    again = view.select(dataset.instance_table["annotation_id"] > 5)
    assert again.shown_instances().sum() == 3
    assert len(dataset) == 30


@pytest.mark.parametrize("is_cached", [False, True])
def test_pickled_data_sets_and_views_are_the_same(tmp_path, monkeypatch, is_cached):
    if is_cached:
        monkeypatch.setattr(index_cache, "UNCACHED_BYTES", 0)
    dataset = open_dataset("amodal_coco", write_many(tmp_path))
    view = dataset.select(dataset.instance_table["annotation_id"] % 2 == 0, drop_empty=True)
    assert shape_of(pickle.loads(pickle.dumps(dataset))) == shape_of(dataset)
    assert shape_of(pickle.loads(pickle.dumps(view))) == shape_of(view)
    if is_cached:
        # A whole set travels as a path.
        assert len(pickle.dumps(dataset)) < 1000


def test_a_large_file_is_read_once(tmp_path, cached, monkeypatch):
    write_many(tmp_path)
    first = open_dataset("amodal_coco", tmp_path)
    built = []
    monkeypatch.setattr(index_cache, "build_index", lambda *a, **k: built.append(a))
    assert shape_of(open_dataset("amodal_coco", tmp_path)) == shape_of(first)
    assert built == []


def test_a_changed_file_is_read_again(tmp_path, cached):
    write_many(tmp_path)
    assert len(open_dataset("amodal_coco", tmp_path)) == 30
    write_many(tmp_path, 20)
    assert len(open_dataset("amodal_coco", tmp_path)) == 20


def test_a_mask_file_overwritten_in_place_is_read_again(tmp_path):
    # The folder of the file keeps its times.
    root = tmp_path / "set"
    fab.dyce(root)
    assert open_dataset("dyce", root)[0].instances[0].amodal_mask().sum() == fab.FRONT.sum()
    path = root / "amodal" / "scene1_7_0.png"
    status = path.stat()
    wider = fab.FRONT.copy()
    wider[0] = True
    cv2.imwrite(str(path), wider.astype(np.uint8) * 255)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert open_dataset("dyce", root)[0].instances[0].amodal_mask().sum() == wider.sum()


def test_an_index_that_cannot_be_kept_is_a_warning(tmp_path, cached, monkeypatch, caplog):
    write_many(tmp_path)
    expected = shape_of(open_dataset("amodal_coco", tmp_path))
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAMEO_CACHE", str(tmp_path / "file" / "cache"))
    dataset = open_dataset("amodal_coco", tmp_path)
    assert shape_of(dataset) == expected
    assert shape_of(pickle.loads(pickle.dumps(dataset))) == expected
    (message,) = caplog.messages
    assert "index of amodal_coco cannot be kept in" in message
    assert "SAMEO_CACHE" in message


def test_a_build_that_fails_leaves_nothing_behind(tmp_path, cached):
    write_many(tmp_path)
    path = tmp_path / "annotations.json"
    path.write_text(path.read_text()[:-10])
    with pytest.raises(DatasetFormatError, match="valid JSON"):
        open_dataset("amodal_coco", tmp_path)
    folder = index_cache.cache_folder() / "index"
    assert [entry.suffix for entry in folder.iterdir()] == [".lock"]


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path, cached):
    write_many(tmp_path)
    open_dataset("amodal_coco", tmp_path)
    folder = next((index_cache.cache_folder() / "index").glob("*/meta.json")).parent
    # The build was killed before its folder got its name.
    folder.rename(folder.with_name(f".{folder.name}.a1b2c3"))
    open_dataset("amodal_coco", tmp_path)
    assert {entry.name for entry in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_an_index_of_another_version_is_refused(tmp_path, cached):
    write_many(tmp_path)
    open_dataset("amodal_coco", tmp_path)
    (meta_path,) = (index_cache.cache_folder() / "index").glob("*/meta.json")
    meta = json.loads(meta_path.read_text())
    meta_path.write_text(json.dumps({**meta, "format_version": 0}))
    with pytest.raises(
        DatasetFormatError, match=f"must have format {FORMAT_VERSION}, got 0; delete it"
    ):
        open_dataset("amodal_coco", tmp_path)


@pytest.mark.slow
def test_workers_do_not_change_the_index(tmp_path, cached, monkeypatch):
    write_many(tmp_path, 300)
    contents = []
    for workers in (1, 2):
        monkeypatch.setenv("SAMEO_CACHE", str(tmp_path / f"cache{workers}"))
        open_dataset("amodal_coco", tmp_path, workers=workers)
        files = sorted((tmp_path / f"cache{workers}").glob("index/*/*"))
        contents.append({path.name: path.read_bytes() for path in files})
    assert len(contents[0]) == 6
    assert contents[0] == contents[1]


def test_a_script_without_a_main_guard_is_refused_and_does_not_wait_for_ever(tmp_path):
    write_many(tmp_path, num_images=3000)
    script = tmp_path / "script.py"
    script.write_text(
        "from sameo_model.data import index_cache\n"
        "from sameo_model.data.collection import open_dataset\n"
        "index_cache.UNCACHED_BYTES = 0\n"
        f"open_dataset('amodal_coco', {str(tmp_path)!r}, workers=2)\n"
    )
    command = [sys.executable, script]
    environment = {**os.environ, "SAMEO_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert run.returncode
    assert "a script that opens a data set must do so under `if __name__" in run.stderr


def test_crowd_regions_are_no_instances_but_kept(tmp_path):
    crowd = {"segmentation": fab.rle(fab.FRONT), "iscrowd": 1, "id": 1}
    path = write_with(tmp_path, crowd)
    dataset = open_dataset("amodal_coco", path)
    (image,) = dataset
    assert len(image.instances) == len(dataset.instance_table) == 1
    (region,) = image.crowds
    np.testing.assert_array_equal(coco_mask.decode(region.rle), fab.FRONT)
    # Numbered anew, behind the objects.
    assert (region.annotation_id, region.category_id, region.category) == (2, 5, "box")
    assert dataset.defects["crowd"]["count"] == 1
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[0].crowds == image.crowds


def test_conversion_keeps_crowd_regions(tmp_path):
    path = write_with(tmp_path, {"segmentation": fab.rle(fab.FRONT), "iscrowd": 1})
    write_amodal_coco(tmp_path / "copy.json", open_dataset("amodal_coco", path), tmp_path)
    convert_dataset(open_dataset("amodal_coco", path), tmp_path / "converted.json", tmp_path)
    for name in ("copy.json", "converted.json"):
        (image,) = open_index([amodal_coco_source(tmp_path / name, tmp_path)])
        assert len(image.instances) == len(image.crowds) == 1


def test_a_stated_occlusion_rate_is_kept_beside_that_of_the_masks(tmp_path):
    (image,) = open_dataset("amodal_coco", write_with(tmp_path, {"occlude_rate": 0.15}))
    first, second = image.instances
    assert (first.stated_occlusion_rate, second.stated_occlusion_rate) == (None, 0.15)
    assert second.occlusion_rate == 0


def write_with(folder, more):
    """Write one image with a plain object and one that has other fields."""
    plain = {"id": 1, "image_id": 1, "category_id": 5, "segmentation": fab.rle(fab.BACK)}
    plain["visible_mask"] = plain["segmentation"]
    height, width = fab.IMAGE_HW
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 5, "name": "box"}],
        "annotations": [plain, {**plain, "id": 2, **more}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def test_the_cache_lies_in_the_users_folder_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SAMEO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert index_cache.cache_folder() == tmp_path / "xdg" / "sameo"


def test_a_million_instances_open_in_little_memory(tmp_path):
    """Rows as an index of 1,000,000 instances has them; opening must not read them all."""
    import tracemalloc

    from sameo_model.data.index import IndexedDataset
    from sameo_model.data.index_format import CROWD_ROW, IMAGE_ROW, INSTANCE_ROW, load_tables

    num_images, per_image = 100_000, 10
    images = np.zeros(num_images, dtype=IMAGE_ROW)
    images["image_id"] = np.arange(num_images) + 1
    images["image_hw"] = fab.IMAGE_HW
    images["num_instances"] = per_image
    images["first_instance"] = np.arange(num_images) * per_image
    images["coco_image_ids"] = -1
    counts = fab.rle(fab.BACK)["counts"].encode()
    instances = np.zeros(num_images * per_image, dtype=INSTANCE_ROW)
    instances["image_row"] = np.arange(len(instances)) // per_image
    instances["annotation_id"] = np.arange(len(instances)) + 1
    instances["amodal_length"] = len(counts)
    instances["flags"] = 7
    instances["amodal_area"] = instances["visible_area"] = 20
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "instances.npy", instances)
    np.save(tmp_path / "crowds.npy", np.zeros(0, dtype=CROWD_ROW))
    (tmp_path / "masks.bin").write_bytes(counts)
    (tmp_path / "paths.bin").write_bytes(b"")
    meta = {
        "format_version": FORMAT_VERSION,
        "dataset": "amodal_coco",
        "categories": [[1, "box"]],
        "classes": [[1, "box"]],
        "defects": {},
        "boxes": {"fault": None},
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    del images, instances
    os.sync()
    tracemalloc.start()
    dataset = IndexedDataset(load_tables(tmp_path))
    masks = [i.amodal_mask() for n in range(0, num_images, 999) for i in dataset[n].instances]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One byte per instance and eight per image for the view; the rest stays on disk.
    assert peak_bytes < 50 << 20
    assert len(masks) == 1010
    np.testing.assert_array_equal(masks[-1], fab.BACK)


def test_a_view_takes_some_images(tmp_path):
    fab.cocoa_cls(tmp_path)
    dataset = open_dataset("cocoa_cls", tmp_path)
    assert [image.image_id for image in dataset.take([0])] == [dataset[0].image_id]
    assert len(dataset.take(slice(None))) == len(dataset)
    assert len(dataset.take([])) == 0


def test_images_that_show_some_coco_photographs_are_left_out(tmp_path):
    # Image 2 shows photograph 6; image 3 is a composite of 7 and 5.
    ids = {1: [4], 2: [6], 3: [7, 5], 4: [8, 9], 5: []}
    images = [fab.image_entry(f"{n}.png", n, coco_image_ids=ids[n]) for n in ids]
    records = [fab.annotation(n, n, segmentation=fab.rle(fab.BACK)) for n in ids]
    fab.save_json(tmp_path / "annotations.json", fab.flat(images, records, {1: "box"}))
    dataset = open_dataset("amodal_coco", tmp_path / "annotations.json")
    assert dataset.coco_photographs() == {4, 5, 6, 7, 8, 9}
    rest = dataset.without_photographs({5, 6})
    assert [image.image_id for image in rest] == [1, 4, 5]
    assert rest.coco_photographs() == {4, 8, 9}
    assert len(dataset.without_photographs(set())) == 5
