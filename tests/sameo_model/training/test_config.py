"""Configurations: every problem is named at once, files in the repository load."""

from pathlib import Path

import pytest

from sameo_model.training.config import TrainConfig
from sameo_model.training.config_loading import load_config

CONFIG_FOLDER = Path(__file__).parents[3] / "config" / "train"


def _write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_defaults_are_the_papers_recipe(tmp_path):
    config = load_config(_write(tmp_path, "train: [{root: data}]"))
    assert config.optimiser.name == "adam"
    assert config.optimiser.lr == 1e-4
    assert config.optimiser.schedule == "constant"
    assert config.trainable == ("mask_decoder",)
    assert config.samples.prompt == "random"


def test_overrides_reach_nested_keys_and_scientific_notation_is_a_number(tmp_path):
    path = _write(tmp_path, "train: [{root: data}]")
    config = load_config(path, ["optimiser.lr=3e-4", "steps=7", "samples.paste=1"])
    assert (config.optimiser.lr, config.steps, config.samples.paste) == (3e-4, 7, 1.0)


def test_every_problem_is_reported_at_once_with_the_nearest_name(tmp_path):
    text = "train: [{root: data}]\nstepz: 3\nsamples: {paste: often}\noptimiser: {lr: [1]}\n"
    with pytest.raises(ValueError, match="cannot be used") as caught:
        load_config(_write(tmp_path, text))
    message = str(caught.value)
    assert "unknown key stepz, did you mean steps?" in message
    assert "samples.paste must be float, got 'often'" in message
    assert "optimiser.lr must be float, got [1]" in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("precision=half", "precision must be one of 32-true"),
        ("trainable=[everything]", "trainable.0. must be one of image_encoder"),
        ("decoders=[]", "decoders must name at least one"),
        ("steps=0", "steps must be at least 1, got 0"),
        ("train=[]", "train must name at least one"),
        ("steps", "an override must look like key=value, got 'steps'"),
    ],
)
def test_values_that_make_no_sense_are_refused(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        load_config(_write(tmp_path, "train: [{root: data}]"), [override])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no configuration at .*gone\.yaml"):
        load_config(tmp_path / "gone.yaml")


def test_every_configuration_in_the_repository_loads():
    paths = sorted(CONFIG_FOLDER.glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), TrainConfig)
