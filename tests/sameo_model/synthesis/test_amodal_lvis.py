"""The whole of `synthesize amodal-lvis` on a fabricated set in LVIS's form."""

from __future__ import annotations

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
import yaml

from sameo_model.data.collection import open_dataset
from sameo_model.synthesis.amodal_lvis import AmodalLvisSettings, choose_pair
from sameo_model.synthesis.amodal_lvis_command import parse_shard
from sameo_model.synthesis.complete_objects import POOL_ROW
from sameo_model.synthesis.compositing import (
    CompositeRule,
    compose,
    cut_out,
    draw_size_ratio,
    wanted_scale,
)
from sameo_model.synthesis.settings_file import load_settings
from sameo_model.synthesize import main
from tests.sameo_model.synthesis.fabricate_lvis import write_lvis

CONFIG = Path(__file__).parents[3] / "config" / "synthesis" / "amodal_lvis.yaml"
NUM_PAIRS = 70


@pytest.fixture(scope="module")
def lvis(tmp_path_factory):
    return write_lvis(tmp_path_factory.mktemp("lvis"), 40)


def arguments(lvis, output, *more):
    return [
        *("amodal-lvis", "--lvis", str(lvis), "--model", "none", "--output", str(output)),
        *("--pairs", str(NUM_PAIRS), "--workers", "1", *more),
    ]


@pytest.fixture(scope="module")
def finished(lvis, tmp_path_factory):
    output = tmp_path_factory.mktemp("finished") / "set"
    assert main(arguments(lvis, output)) == 0
    return output


def content_of(output):
    """Return the bytes of every image and annotation file by name."""
    paths = [*output.glob("shard-*/images/*"), *output.glob("shard-*/annotations.json")]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in paths}


def test_every_pair_has_an_occluded_image_and_a_whole_twin(finished):
    dataset = open_dataset("amodal_lvis", finished)
    assert dataset.defects == {}
    assert len(dataset) == 2 * NUM_PAIRS
    for whole, occluded in zip(dataset[::2], dataset[1::2], strict=True):
        (before,), (after,) = whole.instances, occluded.instances
        np.testing.assert_array_equal(before.amodal_mask(), after.amodal_mask())
        assert before.occlusion_rate == 0
        assert 0 < after.occlusion_rate < 1
        assert before.category == after.category


def test_images_differ_where_the_occluder_lies_alone(finished, lvis):
    dataset = open_dataset("amodal_lvis", finished)
    whole, occluded = dataset[0], dataset[1]
    difference = np.abs(whole.load_rgb().astype(int) - occluded.load_rgb()).max(axis=2)
    hidden = occluded.instances[0].amodal_mask() & ~occluded.instances[0].visible_mask()
    assert np.median(difference[hidden]) > 20
    # Compression spreads the seam by a block of 16 pixels at most.
    changed = cv2.dilate((difference > 30).astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert changed[hidden].mean() > 0.9
    visible = cv2.erode(occluded.instances[0].visible_mask().astype(np.uint8), np.ones((33, 33)))
    assert (difference[visible.astype(bool)] <= 30).all()


def test_twins_name_their_photograph_and_composites_both(finished):
    dataset = open_dataset("amodal_lvis", finished)
    for whole, occluded in zip(dataset[::2], dataset[1::2], strict=True):
        assert len(whole.coco_image_ids) == 1
        assert len(occluded.coco_image_ids) == 2
        assert whole.coco_image_ids[0] == occluded.coco_image_ids[0]


def test_targets_are_complete_objects_alone(finished, lvis):
    source = open_dataset("lvis", lvis)
    at_border = {
        instance.annotation_id
        for image in source
        for instance in image.instances
        if instance.visible_mask()[:, -1].any()
    }
    used = {
        int(instance.source_id)
        for image in open_dataset("amodal_lvis", finished)
        for instance in image.instances
    }
    assert at_border
    assert not used & at_border


def test_without_a_model_the_command_leaves_out_what_touches_other_objects(finished):
    (path,) = finished.glob("shard-*/manifest.json")
    settings = json.loads(path.read_text())["settings"]
    assert settings["complete"]["max_contact_share"] == 0.05


def test_the_report_compares_with_the_paper(finished):
    report = json.loads((finished / "shard-00000-of-00001" / "report.json").read_text())
    assert report["poi"] == 0.5
    assert report["paper"]["num_instances"]["paper"] == 399_398
    assert report["mean_measured_rate"] == pytest.approx(report["mean_ror"])
    assert report["num_failures"] == 0


@pytest.mark.slow
def test_workers_do_not_change_the_result(lvis, finished, tmp_path):
    assert main([*arguments(lvis, tmp_path / "set"), "--workers", "2"]) == 0
    assert content_of(tmp_path / "set") == content_of(finished)


def test_shards_make_up_the_whole(lvis, finished, tmp_path):
    output = tmp_path / "set"
    for stage in ("complete", "compose"):
        for shard in ("0/3", "1/3", "2/3"):
            assert main([*arguments(lvis, output), "--stage", stage, "--shard", shard]) == 0
    images = {Path(name).name: data for name, data in content_of(output).items() if "jpg" in name}
    whole = {Path(name).name: data for name, data in content_of(finished).items() if "jpg" in name}
    assert images == whole
    joined, single = open_dataset("amodal_lvis", output), open_dataset("amodal_lvis", finished)
    assert [image.image_id for image in joined] == [image.image_id for image in single]
    ids = [instance.annotation_id for image in joined for instance in image.instances]
    assert ids == [instance.annotation_id for image in single for instance in image.instances]


def test_a_run_killed_in_the_middle_goes_on_to_the_same_bytes(lvis, finished, tmp_path):
    output = tmp_path / "set"
    command = [sys.executable, "-m", "sameo_model.synthesize", *arguments(lvis, output)]
    environment = {**os.environ, "SAMEO_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[3], env=environment, stderr=subprocess.DEVNULL
    )
    records = output / "shard-00000-of-00001" / "records"
    deadline = time.monotonic() + 120
    # Killed between the first block's record and the last one's.
    while not (records / "000000.json").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (records.parent / "annotations.json").exists()
    assert len(list(records.glob("*.json"))) < -(-NUM_PAIRS // 32)
    assert main(arguments(lvis, output)) == 0
    assert content_of(output) == content_of(finished)


def test_other_settings_in_a_begun_folder_are_refused(lvis, finished, capsys):
    assert main(arguments(lvis, finished, "--seed", "1")) == 1
    assert "must be continued with the settings that it was begun with" in capsys.readouterr().err


def test_a_shard_alone_cannot_do_both_stages(lvis, tmp_path, capsys):
    assert main(arguments(lvis, tmp_path / "set", "--shard", "0/2")) == 1
    assert "pass --stage as well" in capsys.readouterr().err


def test_a_folder_of_photographs_that_is_missing_is_named_before_anything_is_written(
    tmp_path, capsys
):
    root = write_lvis(tmp_path / "lvis", 4)
    (root / "train2017").rename(tmp_path / "elsewhere")
    assert main(arguments(root, tmp_path / "set")) == 1
    error = capsys.readouterr().err
    assert "photographs of lvis must lie where its layout says, but 4 of 4 do not" in error
    assert not (tmp_path / "set").exists()


def test_a_photograph_that_is_missing_costs_its_pairs_alone(tmp_path):
    root = write_lvis(tmp_path / "lvis", 12)
    output = tmp_path / "set"
    assert main([*arguments(root, output), "--stage", "complete"]) == 0
    (root / "train2017" / "000000000003.jpg").unlink()
    assert main([*arguments(root, output), "--stage", "compose"]) == 0
    report = json.loads((output / "shard-00000-of-00001" / "report.json").read_text())
    assert report["num_failures"] > 0
    assert report["num_failures"] + report["num_pairs"] == NUM_PAIRS
    assert "000000000003.jpg" in report["failures"][0]


def test_the_occluder_can_be_annotated_too(lvis, tmp_path):
    output = tmp_path / "set"
    assert main(arguments(lvis, output, "--annotate", "occluder", "--format", "png")) == 0
    dataset = open_dataset("amodal_lvis", output)
    for whole, occluded in zip(dataset[::2], dataset[1::2], strict=True):
        target, occluder = occluded.instances
        assert occluder.occlusion_rate == 0
        hidden = target.amodal_mask() & ~target.visible_mask()
        assert (occluder.visible_mask() | ~hidden).all()
        # Without compression the images differ on the occluder alone.
        differs = (whole.load_rgb() != occluded.load_rgb()).any(axis=2)
        assert not (differs & ~occluder.visible_mask()).any()


def test_two_thousand_composites_hide_the_requested_share(lvis):
    rule = CompositeRule()
    objects = [
        (image.load_rgb(), instance.visible_mask())
        for image in open_dataset("lvis", lvis)
        for instance in image.instances[:2]
    ]
    cutouts = [cut_out(photograph, mask) for photograph, mask in objects]
    generator = np.random.default_rng(5)
    rates = []
    for number in range(2000):
        photograph, mask = objects[number % len(objects)]
        occluder = cutouts[generator.integers(len(cutouts))]
        scale = wanted_scale(mask.sum(), occluder.mask.sum(), draw_size_ratio(rule, generator))
        composite = compose(photograph, mask, occluder, scale, rule, generator)
        rates.append((composite.requested_rate, composite.rate))
    requested, measured = np.mean(rates, axis=0)
    assert measured == pytest.approx(requested, abs=0.005)
    assert measured == pytest.approx(rule.occlusion.mean, abs=0.01)


def test_targets_are_used_in_turn_and_occluders_come_from_other_photographs():
    pool = np.zeros(10, dtype=POOL_ROW)
    pool["image_index"] = np.arange(10) // 2
    pool["instance_index"] = np.arange(10) % 2
    pool["area"] = 1000
    settings = AmodalLvisSettings(seed=1, num_pairs=20)
    chosen = [choose_pair(pool, pair, settings) for pair in range(20)]
    targets = [(t["image_index"], t["instance_index"]) for t, *_ in chosen]
    assert targets == [(n // 2, n % 2) for n in range(10)] * 2
    assert all(t["image_index"] != o["image_index"] for t, o, *_ in chosen)
    # The same pair is chosen again by its number alone.
    assert choose_pair(pool, 7, settings)[1] == chosen[7][1]
    assert {int(o["image_index"]) for _, o, *_ in chosen} == set(range(5))


def test_an_occluder_of_unsuitable_size_still_comes_from_another_photograph():
    pool = np.zeros(3, dtype=POOL_ROW)
    pool["image_index"] = [0, 0, 1]
    pool["area"] = [100, 100, 1_000_000]
    settings = AmodalLvisSettings(seed=0, num_pairs=3)
    for pair in range(3):
        target, occluder, scale, _ = choose_pair(pool, pair, settings)
        assert target["image_index"] != occluder["image_index"]
        # sqrt(100 / 1,000,000) = 0.01 is below the least scale and the reverse above the largest.
        assert scale == (0.2 if target["area"] == 100 else 2.0)


def test_the_configuration_file_holds_the_defaults():
    defaults = AmodalLvisSettings(seed=0, num_pairs=1)
    assert load_settings(CONFIG, defaults) == defaults
    keys = set(yaml.safe_load(CONFIG.read_text()))
    assert keys == {"complete", "composite", "jpeg_quality"}


def test_unknown_settings_are_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("composite: {seams: hard}\n")
    with pytest.raises(
        ValueError, match=r"a\.yaml cannot be used: unknown key .*seams, did you mean .*\.seam"
    ):
        load_settings(path, AmodalLvisSettings(seed=0, num_pairs=1))


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b"])
def test_wrong_shards_are_refused(text):
    with pytest.raises(Exception, match="must"):
        parse_shard(text)
