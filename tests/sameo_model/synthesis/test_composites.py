"""Flat composites: exact truth, the same bytes for a seed, sets that go on, clear errors."""

import json

import cv2
import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.synthesis.clutter import ClutterOptions
from sameo_model.synthesis.composite_set import make_composites
from sameo_model.synthesis.composites import CompositeOptions, draw_cutout_composite
from sameo_model.synthesis.cutouts import find_cutouts
from sameo_model.synthesis.outlines import draw_outline_composite
from sameo_model.synthesis.photographs import find_photographs
from sameo_model.synthesize import main
from tests.sameo_model.synthesis.fabricate_cutouts import write_cutouts

SMALL = CompositeOptions(image_hw=(96, 128))


@pytest.fixture
def photographs_dir(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(2):
        photograph = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), photograph)
    return folder


def draw_outlines(photographs_dir, seed):
    photographs = find_photographs(photographs_dir)
    options = CompositeOptions(image_hw=(120, 160))
    return draw_outline_composite(photographs, np.random.default_rng(seed), options)


def draw_cutouts(photographs_dir, seed):
    cutouts = find_cutouts(write_cutouts(photographs_dir.parent / "cutouts"))
    options = CompositeOptions(image_hw=(120, 160))
    return draw_cutout_composite(
        cutouts, find_photographs(photographs_dir), np.random.default_rng(seed), options
    )


@pytest.mark.parametrize("draw", [draw_outlines, draw_cutouts])
def test_visible_parts_are_disjoint_and_inside_their_whole_shapes(photographs_dir, draw):
    occluded = 0
    for seed in range(8):
        composite = draw(photographs_dir, seed)
        amodal, visible = composite.amodal, composite.visible
        assert composite.image.shape == (120, 160, 3)
        assert len(composite.categories) == len(amodal) > 0
        assert not (visible & ~amodal).any()
        assert visible.sum(0).max() <= 1
        # What an object loses lies under objects that were pasted later.
        for row in range(len(amodal)):
            assert (amodal[row] & ~visible[row] == amodal[row] & amodal[row + 1 :].any(0)).all()
        occluded += int((visible.sum((1, 2)) < amodal.sum((1, 2))).sum())
    assert occluded > 8


def test_half_of_the_hidden_cutouts_are_hidden_by_a_third_or_more_and_many_are_whole(tmp_path):
    cutouts = find_cutouts(write_cutouts(tmp_path / "cutouts"))
    hidden = []
    for seed in range(40):
        composite = draw_cutout_composite(cutouts, None, np.random.default_rng(seed), SMALL)
        whole, seen = composite.amodal.sum((1, 2)), composite.visible.sum((1, 2))
        assert len(whole) <= 14
        hidden.append(1 - seen / whole)
    rates = np.concatenate(hidden)
    occluded = rates[rates > 0.05]
    assert rates.max() <= 0.85
    assert 0.4 < ((occluded >= 0.3) & (occluded <= 0.8)).mean() < 0.75
    assert 0.25 < (rates <= 0.05).mean() < 0.6


def test_objects_are_of_similar_size_and_keep_their_aspect(tmp_path):
    cutouts = find_cutouts(write_cutouts(tmp_path / "cutouts", names=("bar_1",)))
    options = CompositeOptions(image_hw=(240, 320), clutter=ClutterOptions(crowded=0.0))
    for seed in range(6):
        composite = draw_cutout_composite(cutouts, None, np.random.default_rng(seed), options)
        inside = [mask for mask in composite.amodal if not _touches_border(mask)]
        for mask in inside:
            points = cv2.findNonZero(mask.astype(np.uint8))
            # The bar is 60 by 20 pixels; a pixel of rounding on each side.
            _, (first, second), _ = cv2.minAreaRect(points)
            assert max(first, second) / min(first, second) == pytest.approx(3, rel=0.25)
        areas = np.array([mask.sum() for mask in inside])
        if len(areas):
            # Sizes, the roots of areas, differ by at most 1.4 from a target's, which does too.
            assert areas.max() / areas.min() < 1.4**8


def _touches_border(mask):
    return mask[[0, -1]].any() or mask[:, [0, -1]].any()


@pytest.mark.parametrize("kind", ["outlines", "cutouts"])
def test_set_is_the_same_for_any_number_of_workers_and_reads_back(tmp_path, photographs_dir, kind):
    cutouts_dir = write_cutouts(tmp_path / "cutouts") if kind == "cutouts" else None
    for name, workers in (("one", 1), ("two", 2)):
        images, annotations, sheet = make_composites(
            tmp_path / name,
            18,
            photographs_dir=photographs_dir,
            cutouts_dir=cutouts_dir,
            seed=5,
            workers=workers,
            options=SMALL,
        )
        assert images == 18
        assert sheet.is_file()
    for file in ("annotations.json", "images/000000.jpg", "images/000017.jpg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    dataset = open_dataset("amodal_coco", tmp_path / "one")
    assert sum(len(image.instances) + len(image.crowds) for image in dataset) == annotations
    # Objects that are tiny or nearly hidden: where one sees them is not background.
    assert any(image.crowds for image in dataset)
    assert dataset.defects.keys() == {"crowd"}
    wanted = {"bar", "disc", "ring"} if cutouts_dir else {"outline"}
    assert {i.category for image in dataset for i in image.instances} == wanted
    instance = next(i for image in dataset for i in image.instances)
    hidden = 1 - instance.visible_mask().sum() / instance.amodal_mask().sum()
    assert instance.occlusion_rate == pytest.approx(hidden)


def test_a_set_goes_on_where_it_stopped_and_can_be_extended(tmp_path, photographs_dir):
    def make(folder, num_images):
        return make_composites(
            tmp_path / folder, num_images, photographs_dir=photographs_dir, options=SMALL
        )

    make("whole", 34)
    make("stopped", 18)
    # As after a kill: no annotations yet, the last block unfinished, an image half written.
    (tmp_path / "stopped" / "annotations.json").unlink()
    (tmp_path / "stopped" / "records" / "000016-02.json").unlink()
    (tmp_path / "stopped" / "images" / "000017.jpg").write_bytes(b"")
    kept = tmp_path / "stopped" / "images" / "000003.jpg"
    before = kept.stat().st_mtime_ns
    assert make("stopped", 34)[0] == 34
    assert kept.stat().st_mtime_ns == before
    for file in ("annotations.json", "images/000017.jpg", "images/000033.jpg"):
        whole, resumed = (tmp_path / name / file for name in ("whole", "stopped"))
        assert whole.read_bytes() == resumed.read_bytes()


def test_a_set_of_other_settings_is_not_mixed_in(tmp_path, photographs_dir):
    make_composites(tmp_path / "set", 1, photographs_dir=photographs_dir, options=SMALL)
    with pytest.raises(ValueError, match=r"continued with the settings .* seed was 0, now 1"):
        make_composites(tmp_path / "set", 1, photographs_dir=photographs_dir, seed=1, options=SMALL)


def test_photographs_of_coco_are_recorded(tmp_path, photographs_dir):
    for path in photographs_dir.iterdir():
        path.rename(photographs_dir / f"00000000004{path.name}")
    cutouts_dir = write_cutouts(tmp_path / "cutouts")
    make_composites(
        tmp_path / "set",
        12,
        photographs_dir=photographs_dir,
        cutouts_dir=cutouts_dir,
        options=SMALL,
    )
    ids = {image.coco_image_ids for image in open_dataset("amodal_coco", tmp_path / "set")}
    assert {(40,), (41,)} <= ids <= {(), (40,), (41,)}


def test_folders_without_images_are_refused(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"photographs must exist.*correct --photographs"):
        make_composites(tmp_path / "out", 1, photographs_dir=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"cut-outs must exist.*correct --cutouts"):
        make_composites(tmp_path / "out", 1, cutouts_dir=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold photographs .* got 0 such files"):
        make_composites(tmp_path / "out", 1, photographs_dir=tmp_path / "empty")
    with pytest.raises(ValueError, match=r"alpha channel .* got 0 such files"):
        make_composites(tmp_path / "out", 1, cutouts_dir=tmp_path / "empty")
    assert main(["composites", "--output", str(tmp_path / "out")]) == 1
    assert "--photographs DIR, --cutouts DIR or both, got neither" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_makes_a_set(tmp_path, capsys):
    cutouts_dir = write_cutouts(tmp_path / "cutouts")
    arguments = ["composites", "--cutouts", str(cutouts_dir), "--output", str(tmp_path / "set")]
    assert main([*arguments, "--num-images", "2", "--image-size", "160x120", "--workers", "1"]) == 0
    assert "2 images, " in capsys.readouterr().out
    document = json.loads((tmp_path / "set" / "annotations.json").read_text())
    assert [(image["width"], image["height"]) for image in document["images"]] == [(160, 120)] * 2
