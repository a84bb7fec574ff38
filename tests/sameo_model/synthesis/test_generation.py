import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.index_cache import open_index
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.synthesis.generation import generate_scenes, open_output
from sameo_model.synthesis.records import merge_records
from sameo_model.synthesis.scenes import SceneConfig

CONFIG = SceneConfig(seed=11, views=3)


def make(output: Path, num_scenes: int, workers: int) -> Path:
    open_output(output, CONFIG)
    list(generate_scenes(output, CONFIG, num_scenes, workers))
    merge_records(output, num_scenes)
    return output


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "contact_sheet.png"]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def sample(egl, tmp_path_factory):
    """Return eight scenes of three views made by two workers."""
    return make(tmp_path_factory.mktemp("scenes") / "set", 8, workers=2)


def test_one_worker_gives_the_bytes_of_two(sample, tmp_path):
    alone = make(tmp_path / "set", 3, workers=1)
    theirs = digests(sample)
    mine = {k: v for k, v in digests(alone).items() if k[0] in "idrs"}  # not the merged files
    assert len(mine) == 3 * (1 + 3 + 3) + 1
    assert mine == {name: theirs[name] for name in mine}


def test_a_killed_run_goes_on_to_the_same_bytes(sample, tmp_path):
    command = [sys.executable, "-m", "sameo_model.synthesize", "scenes", "--seed", "11"]
    command += [
        "--views",
        "3",
        "--scenes",
        "3",
        "--workers",
        "1",
        "--output",
        str(tmp_path / "set"),
    ]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "set").glob("records/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list((tmp_path / "set").glob("records/0*.json")))
    assert 1 <= finished < 3
    subprocess.run(command, check=True, capture_output=True)
    mine = {k: v for k, v in digests(tmp_path / "set").items() if k[0] in "idrs"}
    theirs = digests(sample)
    assert len(mine) == 3 * (1 + 3 + 3) + 1
    assert mine == {name: theirs[name] for name in mine}
    assert len(json.loads((tmp_path / "set" / "annotations.json").read_text())["images"]) == 9


def test_the_set_reads_as_amodal_coco_with_visible_inside_amodal(sample):
    images = open_dataset("amodal_coco", sample / "annotations.json")
    assert len(images) == 24
    for image in images:
        assert cv2.imread(str(image.path)).shape[:2] == image.image_hw
        for instance in image.instances:
            amodal, visible = instance.amodal_mask(), instance.visible_mask()
            assert (amodal | ~visible).all()
            assert amodal.sum() >= 200
            assert visible.sum() >= 0.1 * amodal.sum()
            expected = 1 - visible.sum() / amodal.sum()
            assert instance.occlusion_rate == pytest.approx(expected)


def test_a_finished_scene_is_readable_before_the_set_is(sample):
    images = open_index([amodal_coco_source(sample / "records" / "000004.json", sample / "images")])
    assert [image.path.name for image in images] == [f"000004_0{k}.jpg" for k in range(3)]


def test_the_default_settings_give_broad_occlusion(sample):
    annotations = json.loads((sample / "annotations.json").read_text())["annotations"]
    rates = np.array([a["occlude_rate"] for a in annotations if not a["iscrowd"]])
    occluded = rates[rates > 0.05]
    assert len(rates) > 24 * 3
    assert 0.30 < len(occluded) / len(rates) < 0.70
    assert 0.25 < occluded.mean() < 0.50
    assert ((occluded > 0.5) & (occluded < 0.9)).mean() > 0.1


def test_depth_and_camera_agree_with_the_table(sample):
    # Most of what a camera sees is the plane z = 0 or things on it; lifted pixels must say so.
    cameras = json.loads((sample / "cameras.json").read_text())
    shares = []
    for camera in cameras[:12]:
        depth = cv2.imread(str(sample / "depth" / camera["depth_file_name"]), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        rows, columns = np.mgrid[0:480:8, 0:640:8]
        z = depth[rows, columns].reshape(-1) / 1000
        k = np.array(camera["intrinsics"])
        rays = np.stack(
            [
                (columns.ravel() + 0.5 - k[0, 2]) / k[0, 0],
                (rows.ravel() + 0.5 - k[1, 2]) / k[1, 1],
                np.ones(z.size),
            ],
            axis=1,
        )
        pose = np.array(camera["world_from_camera"])
        world = (rays * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
        seen = world[z > 0]
        assert seen[:, 2].min() > -0.9
        shares.append((np.abs(seen[:, 2]) < 0.006).mean())
    assert np.mean(shares) > 0.2


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    open_output(tmp_path / "set", CONFIG)
    with pytest.raises(ValueError, match="seed was 11, now 12; pass these or another --output"):
        open_output(tmp_path / "set", SceneConfig(seed=12, views=3))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.txt").write_text("sun")
    with pytest.raises(ValueError, match="must be new or hold a set"):
        open_output(tmp_path, CONFIG)
