"""What macOS and Windows leave in a data set changes nothing; what was appended is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.types import DatasetFormatError
from tests.sameo_model.data import fabricate as fab

SETS = [
    ("cocoa", fab.cocoa),
    ("cocoa_cls", fab.cocoa_cls),
    ("d2sa", fab.d2sa),
    ("kins", fab.kins_2019),
    ("kins", fab.kins_2020),
    ("kitti360_aps", fab.kitti360_polygons),
    ("kitti360_aps", fab.kitti360_panoptic),
    ("muva", fab.muva),
    ("walt", fab.walt_composite),
    ("walt_raw", fab.walt_raw),
    ("dyce", fab.dyce),
    ("mp3d_amodal", fab.mp3d_amodal),
    ("pix2gestalt", fab.pix2gestalt),
    ("amodal_lvis", fab.amodal_lvis),
    ("amodal_coco", fab.amodal_coco),
    ("lvis", fab.lvis),
    ("lvvis", fab.lvvis),
]
every_set = pytest.mark.parametrize(
    ("name", "write"), SETS, ids=[write.__name__ for _, write in SETS]
)


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "set"


def content_of(name: str, root: Path) -> tuple[list, dict]:
    dataset = open_dataset(name, root)
    images = [(image.path, image.image_hw, list(image.instances)) for image in dataset]
    return images, dict(dataset.defects)


def text_files(root: Path, *suffixes: str) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix in suffixes]


@every_set
def test_resource_forks_of_macos_are_no_files_of_the_set(root, name, write):
    write(root)
    expected = content_of(name, root)
    for path in [path for path in root.rglob("*") if path.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(64))
    assert content_of(name, root) == expected


@every_set
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(root, name, write, encoding):
    write(root)
    expected = content_of(name, root)
    files = text_files(root, ".json", *([".txt"] if encoding == "utf-8-sig" else []))
    for path in files:
        path.write_text(path.read_text(), encoding=encoding)
    assert content_of(name, root) == expected


@every_set
def test_something_behind_a_document_is_refused(root, name, write):
    write(root)
    if not (files := text_files(root, ".json")):
        pytest.skip("the set has no JSON file")
    for path in files:
        path.write_text(path.read_text() + '\n{"annotations": []}')
    if write is fab.kitti360_panoptic:  # one file for each image: the others are used
        assert open_dataset(name, root).defects["unreadable_file"]["count"] == len(files)
        return
    with pytest.raises(DatasetFormatError, match=r"nothing more at character .*what was appended"):
        open_dataset(name, root)


NAME = re.compile(r'([^\s"]+\.(?:jpg|png))')
# Sets whose files name images by a path that the set's makers chose.
NAMING = [entry for entry in SETS if entry[1] in (fab.dyce, fab.lvvis)] + [
    entry
    for entry in SETS
    if entry[1]
    in (
        *(fab.cocoa, fab.cocoa_cls, fab.d2sa, fab.kins_2020, fab.kitti360_polygons, fab.muva),
        *(fab.amodal_coco, fab.amodal_lvis),
    )
]


@pytest.mark.parametrize(("name", "write"), NAMING, ids=[write.__name__ for _, write in NAMING])
def test_backslashes_in_names_are_slashes(root, tmp_path, name, write):
    write(root)
    paths = []
    for separator in ("/", "\\"):
        copy = tmp_path / "copy"
        shutil.copytree(root, copy)
        for path in text_files(copy, ".json", ".txt"):
            new = separator if path.suffix == ".txt" else json.dumps(separator)[1:-1]
            parts = NAME.split(path.read_text())
            parts[1::2] = [f"sub/{part}".replace("/", new) for part in parts[1::2]]
            path.write_text("".join(parts))
        paths.append([image.path for image in open_dataset(name, copy)])
        shutil.rmtree(copy)
    assert paths[0] == paths[1]
    assert all("\\" not in str(path) for path in paths[0])
