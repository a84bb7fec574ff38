"""A run that is killed without warning goes on exactly where its last checkpoint was."""

import dataclasses
import json
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
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import assert_same_weights, make_config, make_model

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
