"""A run that is killed or stopped by Ctrl-C goes on exactly where its last checkpoint was."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.training.trainer import train
from sameo_model.training.validation import ValidationResult
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import (
    assert_same_weights,
    make_config,
    make_model,
    make_sources,
)

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 300


@pytest.mark.slow
def test_a_run_killed_at_any_moment_loses_only_the_last_interval(tmp_path):
    write_drawn_scenes(tmp_path / "data")
    save_checkpoint(make_model(), tmp_path / "start.safetensors")
    config = make_config(
        tmp_path,
        init=str(tmp_path / "start.safetensors"),
        optimiser={"name": "adam", "lr": 1e-3, "ema_decay": 0.9, "schedule": "cosine"},
        samples={"boxes_per_image": 4, "augment": True, "paste": 0.5, "box_jitter": 0.1},
        steps=30,
        checkpoint_interval=3,
        workers=1,
    )
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config)))))

    straight = _start(path, tmp_path / "straight")
    killed = _start(path, tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "last.ckpt"
    _wait_for(checkpoint, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    step = torch.load(checkpoint, weights_only=True)["step"]
    assert 0 < step < 30
    assert step % 3 == 0
    resumed = _start(path, tmp_path / "killed")
    for process in (straight, resumed):
        _, message = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, message
    assert f"resuming {tmp_path / 'killed'} at step {step}" in message

    contents = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)
        for name in ("straight", "killed")
    ]
    for part in ("model", "average"):
        assert_same_weights(contents[0][part], contents[1][part])
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 31))


def test_ctrl_c_saves_the_step_in_hand_and_the_run_goes_on_from_it(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    config = make_config(tmp_path, steps=3, val_interval=1)
    checkpoint = tmp_path / "run" / "last.ckpt"

    def press_ctrl_c(model):
        assert not checkpoint.exists()  # checkpoints are 200 steps apart
        signal.raise_signal(signal.SIGINT)
        return ValidationResult({"miou_full": 0.5})

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(config, make_model(), make_sources(images), press_ctrl_c)
    assert torch.load(checkpoint, weights_only=True)["step"] == 1
    resumed = train(config, make_model(), make_sources(images))
    straight = make_config(tmp_path, steps=3, output=str(tmp_path / "straight"))
    straight = train(straight, make_model(), make_sources(images))
    assert_same_weights(resumed.state_dict(), straight.state_dict())


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    reached = []

    def press_ctrl_c_twice(model):
        signal.raise_signal(signal.SIGINT)
        reached.append("first")
        signal.raise_signal(signal.SIGINT)
        reached.append("second")

    config = make_config(tmp_path, steps=3, val_interval=1)
    before = signal.getsignal(signal.SIGINT)  # background jobs of a shell ignore it
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(config, make_model(), make_sources(images), press_ctrl_c_twice)
    assert reached == ["first"]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_a_terminal_leaves_the_workers_that_the_step_in_hand_needs(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    config = make_config(tmp_path, steps=8, val_interval=1, workers=1)
    interrupted = []

    def interrupt_the_workers(model):  # more steps follow than the worker has prepared
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)
            interrupted.append(worker.pid)
        return ValidationResult({"miou_full": 0.5})

    train(config, make_model(), make_sources(images), interrupt_the_workers)
    assert interrupted
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["step"] == 8


def _start(config, output):
    command = [sys.executable, "-m", "sameo_model.train", "--config", str(config)]
    return subprocess.Popen(
        [*command, f"output={output}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(path, process):
    deadline_s = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline_s, f"{path} did not appear"
        time.sleep(0.005)
