"""The table of the mixture says what a run then does."""

import pytest

from sameo_model.train import main
from sameo_model.training.mixture import describe_mixture, mixture_shares
from sameo_model.training.sample_plan import SamplePlan
from sameo_model.training.setup import open_sources
from tests.sameo_model.data import fabricate
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config


def make_mixture(tmp_path, **changes):
    """Mix three drawn images of two objects each with the occluded object of six."""
    for name, size in (("few", 3), ("many", 6)):
        write_drawn_scenes(tmp_path / name, size)
    train = [
        {"root": str(tmp_path / "few")},
        {"root": str(tmp_path / "many"), "min_occlusion": 0.05},
    ]
    return make_config(tmp_path, **{"train": train, **changes})


@pytest.mark.parametrize(
    "settings",
    [
        {"mixing": "log_size", "prompts_per_step": 4, "steps": 600},
        {"mixing": "weights", "images_per_step": 2, "steps": 600},
    ],
    ids=["log_size", "weights"],
)
def test_rounds_and_shares_are_those_of_the_run(tmp_path, settings):
    samples = {"boxes_per_image": 1, "augment": False}
    config = make_mixture(tmp_path, samples=samples, **settings)
    sources = open_sources(config.train)
    drawn = [0, 0]
    for step in SamplePlan(config, sources):
        for draw in step:
            drawn[draw.source] += 1
    # With one box of an image at a time every draw is one image and one prompt.
    for share, source, number in zip(mixture_shares(config, sources), sources, drawn, strict=True):
        assert share.rounds == pytest.approx(number / len(source.images), rel=0.15)
        assert share.prompts_per_instance == pytest.approx(number / share.num_instances, rel=0.15)


def test_several_boxes_of_an_image_make_fewer_rounds(tmp_path):
    settings = {"mixing": "log_size", "prompts_per_step": 4, "steps": 30}
    config = make_mixture(tmp_path, samples={"boxes_per_image": 8, "augment": False}, **settings)
    shares = mixture_shares(config, open_sources(config.train))
    # Both sets have 6 instances, so each has half of 120 prompts: 60 for 6 instances. An image of
    # the first holds two of these, one of the second one.
    assert [(share.num_images, share.num_instances) for share in shares] == [(3, 6), (6, 6)]
    assert [share.probability for share in shares] == [0.5, 0.5]
    assert [share.rounds for share in shares] == pytest.approx([10, 10])
    assert [share.prompts_per_instance for share in shares] == pytest.approx([10, 10])


def test_the_table_names_what_is_held_out(tmp_path):
    fabricate.cocoa_cls(tmp_path / "held")
    write_drawn_scenes(tmp_path / "drawn", 3)
    path = tmp_path / "drawn" / "annotations.json"
    content = fabricate.json.loads(path.read_text())
    # The second image shows the photograph 42 of the held-out set.
    content["images"][1]["coco_image_ids"] = [42]
    fabricate.save_json(path, content)
    train = [{"root": str(tmp_path / "drawn")}]
    held_out = [{"name": "cocoa_cls", "root": str(tmp_path / "held")}]
    config = make_config(tmp_path, train=train, held_out=held_out, steps=10)
    lines = list(describe_mixture(config, open_sources(config.train, config.held_out)))
    assert lines[0].split()[:2] == ["training", "data"]
    # Two images with two objects are left. 10 steps of 2 images are 10 rounds.
    assert lines[1].split()[2:] == ["2", "4", "1", "100.0%", "10.00", "10.00"]
    assert "over 10 steps" in lines[2]


def test_train_prints_the_table_before_the_first_step(tmp_path, capsys):
    write_drawn_scenes(tmp_path / "data", 2)
    (tmp_path / "run.yaml").write_text(
        f"train: [{{root: {tmp_path / 'data'}}}]\npreset: efficient_sam_vitt\n"
        f"init: {tmp_path / 'gone.safetensors'}\noutput: {tmp_path / 'run'}\n"
    )
    # Data are told even where the weights are missing.
    assert main(["--config", str(tmp_path / "run.yaml")]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("training data")
    assert "gone.safetensors" in printed.err
