"""Flat composites: exact truth, the same bytes for a seed, clear errors."""

import cv2
import numpy as np
import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.synthesis.composite_set import generate_composites
from sameo_model.synthesis.composites import CompositeOptions, draw_composite


def _write_photographs(folder):
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(2):
        photograph = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), photograph)
    return folder


def test_visible_parts_are_disjoint_and_inside_their_whole_shapes():
    photographs = [np.full((40, 50, 3), value, np.uint8) for value in (60, 200)]
    options = CompositeOptions(image_hw=(120, 160))
    occluded = 0
    for seed in range(8):
        generator = np.random.default_rng(seed)
        image, amodal, visible = draw_composite(photographs, generator, options)
        assert image.shape == (120, 160, 3)
        assert not (visible & ~amodal).any()
        assert visible.sum(0).max() <= 1
        # Nothing lies over the object that was pasted last.
        assert (visible[-1] == amodal[-1]).all()
        occluded += int((visible.sum((1, 2)) < amodal.sum((1, 2))).sum())
    assert occluded > 8


def test_set_is_the_same_for_any_number_of_workers_and_reads_back(tmp_path):
    photographs = _write_photographs(tmp_path / "photographs")
    options = CompositeOptions(image_hw=(96, 128))
    for name, workers in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        records = generate_composites(
            folder, photographs, 3, seed=5, workers=workers, options=options
        )
        assert [record.image_id for record in records] == [1, 2, 3]
    for file in ("annotations.json", "images/000000.jpg", "images/000002.jpg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    images = open_dataset("amodal_coco", tmp_path / "one")
    assert len(images) == 3
    instance = next(i for image in images for i in image.instances)
    hidden = 1 - instance.visible_mask().sum() / instance.amodal_mask().sum()
    assert instance.occlusion_rate == pytest.approx(hidden)


def test_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder of photographs"):
        list(generate_composites(tmp_path / "out", tmp_path / "none", 1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold photographs .* got none"):
        list(generate_composites(tmp_path / "out", tmp_path / "empty", 1))
    assert not (tmp_path / "out").exists()
