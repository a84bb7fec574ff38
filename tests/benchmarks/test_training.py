"""The training benchmark measures what it says, on drawn scenes."""

import json

import pytest

from benchmarks import training
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config, make_model, make_sources

VITT = "efficient_sam_vitt"


@pytest.mark.slow
def test_the_table_has_a_rate_for_each_loop_and_ratios_to_the_plain_one(tmp_path, capsys):
    write_drawn_scenes(tmp_path / "scenes", 3)
    words = ["--data", str(tmp_path / "scenes"), "--image-size", "64", "--steps", "1"]
    words += ["--images", "2", "--processor-time", "--json", str(tmp_path / "out.json")]
    assert training.main(words) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    names = ["plain loop, encodes once per instance", "train", "train, cached embeddings"]
    assert list(result["rates"]) == names
    assert all(rate > 0 for rate in result["rates"].values())
    ratio = result["rates"]["train"] / result["rates"][names[0]]
    assert f"| {ratio:.1f} |" in capsys.readouterr().out
    assert result["conditions"]["image_size"] == 64


def test_the_plain_loop_encodes_once_per_instance(tmp_path, monkeypatch):
    sources = make_sources(write_drawn_scenes(tmp_path / "scenes"))
    model = make_model(VITT)
    num_encoded = []
    encode = type(model).encode

    def count(self, images):
        num_encoded.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(type(model), "encode", count)
    config = make_config(
        tmp_path, preset=VITT, trainable=["mask_decoder"], steps=2, images_per_step=1
    )
    assert isinstance(training.measure_plain_loop(config, model, sources), float)
    # One image of four boxes per step: four encodings of it.
    assert num_encoded == [4, 4]


def test_the_rate_of_the_trainer_counts_the_boxes_of_the_second_half(tmp_path):
    sources = make_sources(write_drawn_scenes(tmp_path / "scenes"))
    changes = {"preset": VITT, "trainable": ["mask_decoder"], "steps": 4, "log_interval": 2}
    config = make_config(tmp_path, **changes)
    # Two steps of two images with two objects each between the two readings of the clock.
    clock = iter((1.0, 5.0)).__next__
    rate = training.measure_trainer(config, make_model(VITT), sources, clock)
    assert rate == pytest.approx(8 / 4)
