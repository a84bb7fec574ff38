"""Every command of docs/reproduction.md runs, on fabricated data in the original layouts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from sameo_model.modeling import build_sameo, save_checkpoint
from tests.reproduction import original_layouts as layouts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reproduction.md").read_text()
BLOCKS = re.findall(r"^```(?:bash)?\n(.*?)^```$", PAGE, flags=re.M | re.S)
RUN_SMALL = Path(__file__).with_name("run_small.py")
# One process does what the page gives to several GPUs.
PRELUDE = f"""
set -euo pipefail
python() {{ {sys.executable} {RUN_SMALL} "$@"; }}
torchrun() {{ shift 2; python "$@"; }}
"""


def _workplace(folder):
    """Make the folder that the page's commands start in: data, weights, inputs."""
    (folder / "config").symlink_to(ROOT / "config")
    layouts.write_all(folder / "data")
    torch.manual_seed(0)
    model = build_sameo("efficient_sam_vitt", 64, visible_decoder=True)
    save_checkpoint(model, folder / "tiny.safetensors")
    (folder / "any_iou.yaml").write_text("complete: {min_iou: 0.0, allow_border: true}\n")
    for name in FRONT_END_FILES:
        layouts.write_detections(folder / name, amodal="aisformer" in name.lower())
    image, things = layouts.scene(1)
    cv2.imwrite(str(folder / "photo.jpg"), image)
    x, y, width, height = things[0].box_xywh
    (folder / "boxes.json").write_text(json.dumps([{"box": [x, y, x + width, y + height]}]))


FRONT_END_FILES = sorted(set(re.findall(r"--detections (\S+\.json)", PAGE)))


def test_the_page_has_commands():
    commands = [line for block in BLOCKS for line in block.splitlines() if "-m sameo_model" in line]
    assert len(commands) >= 15
    assert FRONT_END_FILES


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_every_command_of_the_page_runs(tmp_path):
    _workplace(tmp_path)
    environment = {
        **os.environ,
        "SAMEO_SOURCES": str(ROOT),
        "SAMEO_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    script = PRELUDE + "\n".join(BLOCKS)
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    for name in ("cocoa_cls", "d2sa", "muva", "zero_shot", "collection"):
        assert (tmp_path / "runs" / name / "model.safetensors").is_file()
    # What decides about each set, as the runs themselves print it.
    table = [line.split() for line in ran.stdout.splitlines()]
    left = {tuple(row[:3]): row[-6:-3] for row in table if len(row) > 6 and row[1:2]}
    # rot0 with one image and augmented with two, three things each.
    assert left["d2sa", "data/d2sa", "train+augmented"] == ["3", "9", "0"]
    for name in re.findall(r"--json (\S+\.json)", PAGE):
        scores = json.loads((tmp_path / name).read_text())
        assert scores, name
    for run in ("zero_shot", "occluded_only"):
        assert (tmp_path / "figure6" / run).is_dir()
