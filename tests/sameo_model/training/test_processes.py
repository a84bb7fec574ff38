"""Several processes under torchrun."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from sameo_model.modeling.checkpoint import save_checkpoint
from sameo_model.training.sample_plan import SamplePlan
from sameo_model.training.setup import open_sources
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import (
    RAGGED,
    assert_same_weights,
    make_config,
    make_model,
    ragged_train,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_two_processes_take_the_step_of_one_with_the_double_batch(tmp_path):
    write_drawn_scenes(tmp_path / "data", 4)
    save_checkpoint(make_model(), tmp_path / "start.safetensors")
    config = make_config(
        tmp_path,
        **RAGGED,
        train=ragged_train(tmp_path / "data"),
        init=str(tmp_path / "start.safetensors"),
        steps=1,
    )
    sources = open_sources(config.train)
    num_boxes = [_count_boxes(config, sources, rank) for rank in (0, 1)]
    assert num_boxes[0] != num_boxes[1]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(config)))))
    one = _train(path, tmp_path / "one", [])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = _train(path, tmp_path / "two", launcher)
    start = make_model().state_dict()
    assert not torch.equal(
        start["mask_decoder.iou_token.weight"], one["mask_decoder.iou_token.weight"]
    )
    assert_same_weights(one, two, rtol=1e-4, atol=1e-5)


def _count_boxes(config, sources, rank):
    draws = next(iter(SamplePlan(config, sources, rank=rank, world_size=2)))
    return sum(len(sources[d.source].images[d.image_index].instances) for d in draws)


def _train(config, output, launcher):
    command = [sys.executable, *launcher, "-m", "sameo_model.train", "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*command, f"output={output}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(output / "last.ckpt", weights_only=True)["model"]
