"""Configurations: every problem is named at once, files in the repository load."""

from pathlib import Path
from typing import get_args

import pytest

from sameo_model.data.catalogue import load_card
from sameo_model.data.collection import dataset_names
from sameo_model.modeling.box_detector import BOX_DETECTOR
from sameo_model.modeling.presets import PRESETS
from sameo_model.training.config import Preset, TrainConfig
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


def test_each_network_can_be_named():
    assert {*get_args(Preset)} == {*PRESETS, BOX_DETECTOR}


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


def test_a_key_in_the_wrong_group_is_sent_to_the_right_one(tmp_path):
    text = "train: [{rot: data}]\nlr: 1\nsamples: {boxjitter: 0.1, steps: 3, qqq: 1}\n"
    with pytest.raises(ValueError, match="cannot be used") as caught:
        load_config(_write(tmp_path, text))
    message = str(caught.value)
    assert "unknown key lr, did you mean optimiser.lr?" in message
    assert "unknown key samples.boxjitter, did you mean samples.box_jitter?" in message
    assert "unknown key samples.steps, did you mean steps?" in message
    assert "unknown key train[0].rot, did you mean train[0].root?" in message
    assert "unknown key samples.qqq; known: boxes_per_image" in message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("precision=half", "precision must be one of 32-true"),
        ("trainable=[everything]", "trainable.0. must be one of image_encoder"),
        ("decoders=[]", "decoders must name at least one"),
        ("steps=0", "steps must be at least 1, got 0"),
        ("train=[]", "train must name at least one"),
        ("steps", "an override must look like key=value, got 'steps'"),
        ("steps={", "the value in 'steps={' must be YAML"),
        ("preset=efficientsam", "preset must be one of sameo_lite, .* got 'efficientsam'"),
        ("samples.padding=[0.3]", r"samples.padding must be a list of 2, got \[0.3\]"),
        ("boxes.scale=[1]", r"boxes.scale must be a list of 2, got \[1\]"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("optimiser.lr=-1e-4", "optimiser.lr must be at least 0, got -0.0001"),
        ("optimiser.encoder_lr_scale=-1", "optimiser.encoder_lr_scale must be at least 0, got -1"),
        ("frozen_blocks=99", "frozen_blocks must be from 0 to 16, got 99"),
        ("samples.target_stride=0", "samples.target_stride must be at least 1, got 0"),
        ("samples.min_window=50", r"samples.min_window must lie in \(0, 1\], got 50"),
        ("samples.paste=30", r"samples.paste must lie in \[0, 1\], got 30"),
        ("samples.amodal_prompts=-1", r"samples.amodal_prompts must lie in \[0, 1\], got -1"),
        ("samples.found_boxes=2", r"samples.found_boxes must lie in \[0, 1\], got 2"),
        ("train=[{root: a, weight: 0.4}, {root: b}]", r"for all sets or for none, got \[0.4, 0.0"),
        ("train=[{root: a, weight: -1}]", r"a weight above 0 for all sets or for none, got \[-1"),
        ("trainable=[box_head]", "trainable of sameo_lite must name one of image_encoder, prompt_"),
        ("preset=box_detector", "trainable of box_detector must name one of image_encoder, box_h"),
    ],
)
def test_values_that_make_no_sense_are_refused(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        load_config(_write(tmp_path, "train: [{root: data}]"), [override])


@pytest.mark.parametrize(
    ("preset", "metric", "kind"),
    [
        ("box_detector", "miou_full", "a box_. score"),
        ("sameo_lite", "box_visible_ap", "a score of"),
    ],
)
def test_a_score_that_a_validation_cannot_have_is_refused(tmp_path, preset, metric, kind):
    path = _write(tmp_path, "train: [{root: data}]\nval: [{root: data}]\n")
    more = [f"preset={preset}", f"best_metric={metric}", "trainable=[image_encoder]"]
    with pytest.raises(ValueError, match=f"best_metric of {preset} must be {kind}.*got {metric}"):
        load_config(path, more)


def test_a_decoder_without_a_loss_is_not_enough_to_train(tmp_path):
    path = _write(tmp_path, "train: [{root: data}]\npreset: efficient_sam_vitt\n")
    with pytest.raises(ValueError, match="one of image_encoder, prompt_encoder, mask_decoder, got"):
        load_config(path, ["trainable=[visible_decoder]"])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"settings must lie at .*gone\.yaml"):
        load_config(tmp_path / "gone.yaml")


def test_every_configuration_in_the_repository_loads():
    paths = sorted(CONFIG_FOLDER.rglob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), TrainConfig)


def test_every_data_set_in_the_configurations_exists_with_its_split():
    sources = [
        source
        for path in sorted(CONFIG_FOLDER.rglob("*.yaml"))
        for config in [load_config(path)]
        for source in (*config.train, *config.val, *config.held_out)
    ]
    assert len({source.name for source in sources}) > 10
    for source in sources:
        assert source.name in dataset_names()
        assert {*(source.split or "").split("+")} <= {"", *load_card(source.name).splits}


@pytest.mark.parametrize(
    ("name", "steps", "prompts"),
    [("cocoa_cls", 1440, 16), ("d2sa", 2340, 16), ("muva", 22500, 16), ("zero_shot", 40000, 32)],
)
def test_the_papers_runs_have_its_published_settings(name, steps, prompts):
    config = load_config(CONFIG_FOLDER / f"{name}.yaml")
    optimiser = config.optimiser
    assert (config.steps, config.prompts_per_step, config.mixing) == (steps, prompts, "log_size")
    assert (optimiser.name, optimiser.lr, optimiser.schedule) == ("adam", 1e-4, "constant")
    assert (optimiser.warmup_steps, optimiser.weight_decay) == (0, 0)
    assert config.trainable == config.decoders == ("mask_decoder",)
    assert (config.samples.prompt, config.samples.augment) == ("random", False)
    assert not {"cocoa_cls", "d2sa"} & {s.name for s in config.train} or name != "zero_shot"


def test_d2sa_trains_on_both_of_its_training_files_as_one_set():
    (source,) = load_config(CONFIG_FOLDER / "d2sa.yaml").train
    assert source.split == "train+augmented"


def test_the_zero_shot_run_trains_on_no_split_that_is_evaluated_or_validated_on():
    config = load_config(CONFIG_FOLDER / "zero_shot.yaml")
    trained = {source.name: source.split for source in config.train}
    assert trained["muva"] == "train+val"
    assert [(source.name, source.split) for source in config.val] == [
        ("muva", "test"),
        ("pix2gestalt", "val"),
    ]
    assert trained["pix2gestalt"] == "train"
    assert [(source.name, source.split) for source in config.held_out] == [("cocoa_cls", "val")]
    # Every other set with all of its splits, as table 1 counts them.
    whole = {name for name, split in trained.items() if split is None}
    assert whole == {"cocoa", "dyce", "kins", "kitti360_aps", "mp3d_amodal", "walt", "amodal_lvis"}
