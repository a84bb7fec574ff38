"""What a run is built from: data sets that exist and hold something, weights that fit."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.training.config import DataSource
from sameo_model.training.setup import build_model, build_validation, check_roots, open_sources
from tests.sameo_model.data import fabricate
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config, make_model

VITT = "efficient_sam_vitt"


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"amodal_coco must lie in .*gone.* no such folder"):
        check_roots([DataSource(str(tmp_path / "gone"))])


def test_missing_roots_are_named_together(tmp_path):
    sources = [DataSource(str(tmp_path / name)) for name in ("first", "second", "third")]
    with pytest.raises(FileNotFoundError, match=r"first, but .*second, but .*third, but .*change"):
        check_roots(sources)


def test_a_set_that_is_empty_after_filtering_is_refused(tmp_path):
    write_drawn_scenes(tmp_path / "data")
    # About a third of each disc is hidden, and nothing of the bars.
    with pytest.raises(ValueError, match=r"got none after filtering; .* min_occlusion \(0\.9\)"):
        open_sources([DataSource(str(tmp_path / "data"), min_occlusion=0.9)])


def test_min_occlusion_keeps_occluded_instances_alone(tmp_path):
    write_drawn_scenes(tmp_path / "data")
    (source,) = open_sources([DataSource(str(tmp_path / "data"), min_occlusion=0.05)])
    assert [len(image.instances) for image in source.images] == [1, 1]
    assert all(image.instances[0].occlusion_rate > 0.05 for image in source.images)


def test_stage_two_starts_the_amodal_decoder_as_the_visible_one(tmp_path):
    first = make_model(VITT)
    save_checkpoint(first, tmp_path / "first.safetensors")
    init = str(tmp_path / "first.safetensors")
    config = make_config(tmp_path, preset=VITT, init=init, copy_visible_decoder=True)
    model = build_model(config)
    expected = first.visible_decoder.state_dict()
    for part in (model.mask_decoder, model.visible_decoder):
        for name, value in part.state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_a_checkpoint_that_does_not_fit_the_run_is_refused(tmp_path):
    save_checkpoint(make_model(), tmp_path / "first.safetensors")
    init = str(tmp_path / "first.safetensors")
    with pytest.raises(ValueError, match="copy_visible_decoder needs a visible decoder"):
        build_model(make_config(tmp_path, init=init, copy_visible_decoder=True))
    with pytest.raises(ValueError, match="init must hold a efficient_sam_vitt network, got sameo"):
        build_model(make_config(tmp_path, init=init, preset="efficient_sam_vitt"))


def chosen_by_folder(tmp_path, sizes, **changes):
    """Return the ids of the validation images of sets of these sizes, by folder."""
    for number, size in enumerate(sizes):
        if not (tmp_path / str(number)).exists():
            write_drawn_scenes(tmp_path / str(number), size)
    val = [{"root": str(tmp_path / str(number))} for number in range(len(sizes))]
    images = build_validation(make_config(tmp_path, val=val, **changes)).images
    chosen = {number: [] for number in range(len(sizes))}
    for image in images:
        chosen[int(image.path.parts[-3])].append(image.image_id)
    return chosen


@pytest.mark.parametrize(
    ("wanted", "expected"),
    # The smaller set gives the odd one; what it lacks falls to the larger.
    [(2, [1, 1]), (3, [2, 1]), (8, [2, 6]), (0, [2, 9]), (50, [2, 9])],
)
def test_validation_draws_from_all_sets_in_equal_parts(tmp_path, wanted, expected):
    chosen = chosen_by_folder(tmp_path, [2, 9], val_images=wanted)
    assert [len(ids) for ids in chosen.values()] == expected
    assert all(ids == sorted(set(ids)) for ids in chosen.values())


def test_validation_takes_the_same_images_whatever_the_seed_and_not_the_first_ones(tmp_path):
    first = chosen_by_folder(tmp_path, [9], val_images=4, seed=0)
    assert first == chosen_by_folder(tmp_path, [9], val_images=4, seed=3)
    assert first[0] != [1, 2, 3, 4]
    assert build_validation(make_config(tmp_path)) is None


@pytest.mark.parametrize("metric", ["miou_hidden", "miou_full_occluded", "miou_full_unoccluded"])
def test_a_best_metric_that_no_validation_object_has_is_refused(tmp_path, metric):
    write_drawn_scenes(tmp_path / "data")
    is_bar = metric != "miou_full_unoccluded"
    val = [{"root": str(tmp_path / "data"), "min_occlusion": 0.0 if is_bar else 0.05}]
    if is_bar:
        path = tmp_path / "data" / "annotations.json"
        content = json.loads(path.read_text())
        # The bars, which nothing hides.
        content["annotations"] = content["annotations"][1::2]
        path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=f"best_metric {metric} needs an object .* in the 2 images"
    ):
        build_validation(make_config(tmp_path, val=val, best_metric=metric))
    assert build_validation(make_config(tmp_path, val=val)) is not None


def test_photographs_of_held_out_sets_are_left_out(tmp_path):
    # Both fabricated sets show the same photograph of COCO.
    fabricate.cocoa(tmp_path / "cocoa")
    fabricate.cocoa_cls(tmp_path / "cocoa_cls")
    train = [DataSource(str(tmp_path / "cocoa"), "cocoa", "val")]
    held_out = [DataSource(str(tmp_path / "cocoa_cls"), "cocoa_cls", "val")]
    assert len(open_sources(train)[0].images) == 1
    message = "leaves nothing of it: each of its 1 images shows a photograph of cocoa_cls val"
    with pytest.raises(ValueError, match=message):
        open_sources(train, held_out)


def test_a_held_out_set_without_photographs_of_coco_is_refused(tmp_path):
    fabricate.cocoa(tmp_path / "cocoa")
    fabricate.d2sa(tmp_path / "d2sa")
    train = [DataSource(str(tmp_path / "cocoa"), "cocoa")]
    with pytest.raises(ValueError, match=r"by their COCO number, but d2sa in .*d2sa has none; rem"):
        open_sources(train, [DataSource(str(tmp_path / "d2sa"), "d2sa")])


def test_validation_images_that_are_trained_on_are_told(tmp_path, caplog):
    write_drawn_scenes(tmp_path / "train", 3)
    write_drawn_scenes(tmp_path / "other")
    # The same files under another name, as a list of one's own would call them.
    (tmp_path / "val").mkdir()
    shutil.copy(tmp_path / "train" / "annotations.json", tmp_path / "val")
    (tmp_path / "val" / "images").symlink_to(tmp_path / "train" / "images")
    trained = open_sources([DataSource(str(tmp_path / "train"))])
    build_validation(make_config(tmp_path, val=[{"root": str(tmp_path / "other")}]), trained)
    assert not caplog.messages
    val = [{"root": str(tmp_path / name)} for name in ("val", "other")]
    build_validation(make_config(tmp_path, val=val), trained)
    assert "val: 3 of its 5 images are trained on too, such as" in caplog.text


def test_training_images_of_other_names_are_not_looked_up(tmp_path, monkeypatch):
    fabricate.cocoa(tmp_path / "cocoa")
    write_drawn_scenes(tmp_path / "val", 1)
    trained = open_sources([DataSource(str(tmp_path / "cocoa"), "cocoa")])
    looked_up = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path: looked_up.append(path) or resolve(path))
    build_validation(make_config(tmp_path, val=[{"root": str(tmp_path / "val")}]), trained)
    assert not [path for path in looked_up if path.is_relative_to(tmp_path / "cocoa")]


def test_validation_photographs_that_another_set_trains_on_are_told(tmp_path, caplog):
    fabricate.cocoa(tmp_path / "cocoa")
    fabricate.cocoa_cls(tmp_path / "cocoa_cls")
    trained = open_sources([DataSource(str(tmp_path / "cocoa"), "cocoa", "val")])
    val = [{"root": str(tmp_path / "cocoa_cls"), "name": "cocoa_cls", "split": "val"}]
    build_validation(make_config(tmp_path, val=val), trained)
    assert "val: 1 of its 1 images are trained on too" in caplog.text


def test_a_run_that_changes_the_input_size_of_its_weights_says_so(tmp_path, caplog):
    save_checkpoint(make_model(), tmp_path / "first.safetensors")
    init = str(tmp_path / "first.safetensors")
    assert build_model(make_config(tmp_path, init=init)).image_size == 64
    assert build_model(make_config(tmp_path, init=init, image_size=64)).image_size == 64
    assert caplog.text == ""
    assert build_model(make_config(tmp_path, init=init, image_size=96)).image_size == 96
    assert "input of 64 x 64 pixels, and this run makes it a network of 96 x 96" in caplog.text


def test_quality_control_of_a_source_applies_unless_switched_off(tmp_path):
    fabricate.cocoa(tmp_path)
    path = tmp_path / "annotations" / "COCO_amodal_val2014.json"
    content = json.loads(path.read_text())
    # COCOA's rule leaves out what is marked as stuff; here that is the first of two regions.
    content["annotations"][0]["regions"][0]["isStuff"] = 1
    path.write_text(json.dumps(content))

    def num_instances(**options):
        (source,) = open_sources([DataSource(str(tmp_path), "cocoa", "val", **options)])
        return sum(len(image.instances) for image in source.images)

    assert num_instances() == 1
    assert num_instances(quality_control=True) == 1
    assert num_instances(quality_control=False) == 2


def test_quality_control_is_an_option_of_a_configurations_sources(tmp_path):
    def quality_control(**options):
        train = [{"root": str(tmp_path), "name": "cocoa", **options}]
        return make_config(tmp_path, train=train).train[0].quality_control

    assert quality_control() is True
    assert quality_control(quality_control=False) is False


def test_a_set_of_visible_masks_alone_is_refused_as_what_it_is(tmp_path):
    fabricate.coco_instances(tmp_path / "named")
    with pytest.raises(ValueError, match=r"must have amodal masks .* visible part of each object"):
        open_sources([DataSource(str(tmp_path / "named"), name="coco_instances")])
    fabricate.coco_instances(tmp_path / "misnamed")
    (tmp_path / "misnamed" / "train.json").rename(tmp_path / "misnamed" / "annotations.json")
    with pytest.raises(ValueError, match=r"no annotation has one; .* its name is coco_instances"):
        open_sources([DataSource(str(tmp_path / "misnamed"))])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is told to keep memory")
def test_freed_memory_is_used_again():
    script = """
import resource, torch
from sameo_model.training.setup import keep_freed_memory
def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
first = count_faults()
keep_freed_memory()
count_faults()
print(first, count_faults())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    default, kept = map(int, run.stdout.split())
    assert kept < 0.1 * default
