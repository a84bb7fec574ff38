"""Checkpoints: whole or not at all, everything in them, and refused where runs differ."""

import resource
from contextlib import contextmanager

import pytest
import torch

from sameo_model.data.collection import open_dataset
from sameo_model.modeling.checkpoint import load_checkpoint
from sameo_model.training.trainer import train
from sameo_model.training.validation import ValidationResult
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import (
    assert_same_weights,
    make_config,
    make_model,
    make_sources,
)


@contextmanager
def full_disk():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses to let any file grow beyond this, as it does on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def sources(tmp_path):
    return make_sources(write_drawn_scenes(tmp_path / "data"))


def test_resuming_restores_average_and_random_state(tmp_path, sources):
    optimiser = {"name": "adam", "lr": 1e-3, "ema_decay": 0.9}
    straight = make_config(tmp_path, output=str(tmp_path / "straight"), optimiser=optimiser)
    expected = train(straight, make_model(), sources)
    config = make_config(tmp_path, optimiser=optimiser, checkpoint_interval=2, val_interval=3)

    def kill(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, make_model(), sources, kill)
    content = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert content["step"] == 2
    resumed = train(config, make_model(), sources)
    assert_same_weights(expected.state_dict(), resumed.state_dict())


def test_the_checkpoint_of_a_run_is_as_a_network_what_the_run_gives(tmp_path, sources, caplog):
    optimiser = {"name": "adam", "lr": 1e-3, "ema_decay": 0.9}
    result = train(make_config(tmp_path, optimiser=optimiser), make_model(), sources)
    loaded = load_checkpoint(tmp_path / "run" / "last.ckpt")
    assert_same_weights(result.state_dict(), loaded.state_dict())
    assert "last.ckpt holds a moving average of the weights, which is taken" in caplog.text


def test_full_disk_keeps_the_checkpoint_before_and_says_so(tmp_path, sources):
    run = tmp_path / "run"
    train(make_config(tmp_path, steps=1), make_model(), sources)
    before = (run / "last.ckpt").read_bytes()
    config = make_config(tmp_path, steps=2, allow_changes=True)
    message = r"step 2 cannot be written to .*last.ckpt .*was kept"
    with full_disk(), pytest.raises(OSError, match=message):
        train(config, make_model(), sources)
    assert (run / "last.ckpt").read_bytes() == before
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
    resumed = train(config, make_model(), sources)
    straight = make_config(tmp_path, steps=2, output=str(tmp_path / "straight"))
    expected = train(straight, make_model(), sources)
    assert_same_weights(expected.state_dict(), resumed.state_dict())


def test_full_disk_while_the_best_network_is_saved_is_told_with_its_folder(tmp_path, sources):
    config = make_config(tmp_path, steps=1, val_interval=1)
    message = r"nothing more can be written to .*run \(File too large\); free some space"
    with full_disk(), pytest.raises(OSError, match=message):
        train(config, make_model(), sources, lambda _: ValidationResult({"miou_full": 0.5}))
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    train(config, make_model(), sources, lambda _: ValidationResult({"miou_full": 0.5}))
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_another_configuration_is_named_and_refused_unless_asked_for(tmp_path, sources):
    train(make_config(tmp_path, steps=1), make_model(), sources)
    changes = {"steps": 2, "optimiser": {"name": "adamw", "lr": 1e-4, "max_grad_norm": 1.0}}
    with pytest.raises(ValueError, match="belongs to a run with another") as caught:
        train(make_config(tmp_path, **changes), make_model(), sources)
    assert "optimiser.lr: 0.001 then, 0.0001 now; steps: 1 then, 2 now" in str(caught.value)
    assert "allow_changes=true" in str(caught.value)
    config = make_config(tmp_path, **changes, allow_changes=True)
    train(config, make_model(), sources)
    content = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert content["step"] == 2
    assert content["optimiser"]["param_groups"][-1]["lr"] == 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"frozen_blocks": 3},
        {"frozen_depthwise": True},
        {"optimiser": {"name": "sgd", "lr": 1e-3, "ema_decay": 0.9}},
    ],
    ids=["blocks", "depthwise", "optimiser"],
)
def test_an_optimiser_of_other_weights_or_of_another_kind_starts_anew(
    tmp_path, sources, caplog, changes
):
    first = {"optimiser": {"name": "adamw", "lr": 1e-3, "ema_decay": 0.9}}
    train(make_config(tmp_path, **first, steps=1), make_model(), sources)
    config = make_config(tmp_path, **{**first, **changes}, steps=2, allow_changes=True)
    train(config, make_model(), sources)
    assert "the optimiser starts anew" in caplog.text
    # And back: weights that were frozen are trained and averaged again.
    config = make_config(tmp_path, **first, steps=3, allow_changes=True)
    train(config, make_model(), sources)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["step"] == 3


def test_a_changed_weight_decay_counts_from_the_resumed_step_on(tmp_path, sources):
    first = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.5}
    train(make_config(tmp_path, optimiser=first, steps=1), make_model(), sources)
    second = make_config(
        tmp_path, optimiser={**first, "weight_decay": 0.1}, steps=2, allow_changes=True
    )
    train(second, make_model(), sources)
    content = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert [group["weight_decay"] for group in content["optimiser"]["param_groups"]] == [0.1, 0.1]


def test_other_data_are_named_and_refused_unless_asked_for(tmp_path, sources):
    config = make_config(tmp_path, steps=1)
    train(config, make_model(), sources)
    train(config, make_model(), make_sources(open_dataset("amodal_coco", tmp_path / "data")))
    other = make_sources(write_drawn_scenes(tmp_path / "other", 3))
    message = r"train\[0\]: '2 images, 4 .*' then, '3 images, 6 .*' now\); .* allow_changes=true"
    with pytest.raises(ValueError, match=message):
        train(config, make_model(), other)
    train(make_config(tmp_path, steps=1, allow_changes=True), make_model(), other)
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    del content["data"]  # as checkpoints were that did not keep it
    torch.save(content, path)
    train(config, make_model(), sources)


def test_another_network_is_refused_even_when_changes_are_allowed(tmp_path, sources):
    train(make_config(tmp_path, steps=1), make_model(), sources)
    config = make_config(tmp_path, trainable=["mask_decoder"], allow_changes=True)
    with pytest.raises(ValueError, match=r"holds another network \(trainable: .* init="):
        train(config, make_model(), sources)


def test_settings_that_do_not_change_what_is_learnt_may_differ(tmp_path, sources):
    train(make_config(tmp_path, steps=1), make_model(), sources)
    config = make_config(tmp_path, steps=1, log_interval=5, max_unreadable=3, val_overlays=0)
    train(config, make_model(), sources)


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda content: b"", "is empty"),
        (lambda content: content[: len(content) // 2], "is damaged or truncated"),
        (lambda content: bytes(len(content)), "is damaged or truncated"),
    ],
    ids=["empty", "cut off", "zeros"],
)
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, sources, damage, state):
    train(make_config(tmp_path, steps=1), make_model(), sources)
    path = tmp_path / "run" / "last.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"last\.ckpt {state}; .* remove it to start the run"):
        train(make_config(tmp_path, steps=2, allow_changes=True), make_model(), sources)


def test_a_file_that_is_no_checkpoint_of_a_run_is_named(tmp_path, sources):
    (tmp_path / "run").mkdir()
    torch.save({"model": {}}, tmp_path / "run" / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt must hold config, model, optimiser, step"):
        train(make_config(tmp_path), make_model(), sources)
