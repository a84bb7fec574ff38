"""The script for the first GPU that comes along, as far as it runs without one."""

import numpy as np
import pytest
import torch

from benchmarks import gpu
from sameo_model.modeling import build_sameo
from sameo_model.runtime.backends import cuda


@pytest.fixture(autouse=True)
def _without_gpu():
    if torch.cuda.is_available() or cuda.unavailable_reason() is None:
        pytest.skip("this machine has a GPU")


def test_without_a_gpu_it_says_so_and_fails(tmp_path, capsys):
    assert gpu.main(["--no-tests", "--json", str(tmp_path / "gpu.json")]) == 1
    told = capsys.readouterr().err
    assert "PyTorch sees no CUDA GPU" in told
    assert "TensorRT is left out: backend tensorrt cannot run here" in told
    assert (tmp_path / "gpu.json").read_text() == "[]\n"


def test_the_references_structure_is_timed_for_every_number_of_boxes(monkeypatch):
    monkeypatch.setattr(gpu, "NUM_RUNS", 2)
    monkeypatch.setattr(gpu, "NUM_WARM_UP", 1)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    model = build_sameo("efficient_sam_vitt", 64)
    boxes = np.array([[8, 8, 40, 56]], np.float32)
    rows = gpu._measure_reference(torch, model, torch.zeros(1, 3, 64, 64), boxes)
    assert [(row["part"], row["boxes"]) for row in rows] == [
        ("encoder", ""),
        ("decoder", 1),
        ("decoder", 8),
        ("decoder", 32),
    ]
    assert all(row["median_ms"] > 0 for row in rows)
