"""The ablations' commands from end to end, on drawn scenes and one step of training each."""

import json

import cv2
import numpy as np
import pytest

from benchmarks import ablations
from benchmarks.noisy_detections import write_noisy_detections
from sameo_model.data.prompts import instance_box_xyxy
from sameo_model.evaluation.detections import box_ious
from sameo_model.modeling.checkpoint import save_checkpoint
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_model


@pytest.mark.slow
def test_every_ablation_prints_a_table_and_is_not_trained_twice(tmp_path, capsys, monkeypatch):
    write_drawn_scenes(tmp_path / "scenes")
    save_checkpoint(make_model(visible_decoder=True), tmp_path / "stage1.safetensors")
    words = ["all", "--seeds", "0", "--steps", "1"]
    for name, value in (
        ("init", "stage1.safetensors"),
        ("train", "scenes"),
        ("val", "scenes"),
        ("output", "out"),
    ):
        words += [f"--{name}", str(tmp_path / value)]
    assert ablations.main(words) == 0
    printed = capsys.readouterr().out
    for name in ablations.ABLATIONS:
        table = (tmp_path / "out" / f"{name}.md").read_text()
        assert table in printed
        assert "paper" in table
    # Table 5 of the paper, random prompts: AP 54.2, AR 71.6; table 4 with re-scoring: 54.3.
    assert "| 54.2 | 71.6 |" in (tmp_path / "out" / "prompts.md").read_text()
    assert "| 54.3 | 74.0 | 59.7 |" in (tmp_path / "out" / "rescoring.md").read_text()
    assert cv2.imread(str(tmp_path / "out" / "occluded_only.png")).shape[0] == 360
    runs = [path.parent for path in (tmp_path / "out").glob("*/model.safetensors")]
    # The base, two prompts, occluded alone, three read-outs, no visible decoder, jitter.
    assert len(runs) == 9

    def refuse(*_):
        raise AssertionError("a variant was trained although its result is there")

    monkeypatch.setattr(ablations, "train", refuse)
    assert ablations.main(["prompts", *words[1:]]) == 0


def test_noisy_detections_repeat_with_the_seed_and_scores_follow_quality(tmp_path):
    images = write_drawn_scenes(tmp_path / "scenes", 5)
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    for path, seed in zip(paths, (0, 0, 1), strict=True):
        write_noisy_detections(path, images, "amodal", seed)
    first, again, other = (json.loads(path.read_text()) for path in paths)
    assert first == again != other
    # Two objects with three boxes each, and three boxes of nothing, in each image.
    assert len(first) == 5 * (2 * 3 + 3)
    truth = {
        image.image_id: np.stack([instance_box_xyxy(i, "amodal") for i in image.instances])
        for image in images
    }
    quality, scores = [], []
    for record in first:
        x, y, width, height = record["bbox"]
        box = np.array([[x, y, x + width, y + height]])
        quality.append(box_ious(box, truth[record["image_id"]]).max())
        scores.append(record["score"])
    correlation = np.corrcoef(quality, scores)[0, 1]
    assert 0.5 < correlation < 0.98
