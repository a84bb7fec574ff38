"""Entries of a run: none twice after resuming, means over the steps between."""

import json

import pytest

from sameo_model.training import run_log
from sameo_model.training.run_log import Meter, RunLog


def _steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_a_resumed_run_drops_the_entries_that_it_repeats(tmp_path):
    log = RunLog(tmp_path, first_step=0, num_steps=9)
    for step in (1, 2, 3):
        log.log_training(step, {"total": 0.5})
    log.close()
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 4, "train/to')  # killed while writing
    log = RunLog(tmp_path, first_step=2, num_steps=9)
    log.log_validation(3, {"miou_full": 0.25, "bins": []})
    log.close()
    assert _steps(path) == [1, 2, 3]
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 3, "val/miou_full": 0.25}


def test_a_silent_log_writes_nothing(tmp_path):
    log = RunLog(tmp_path, first_step=0, num_steps=9, is_silent=True)
    log.log_training(1, {"total": 0.5})
    log.close()
    assert not list(tmp_path.iterdir())


def test_the_meter_averages_and_starts_anew(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(run_log.time, "perf_counter", lambda: now_s[0])
    meter = Meter()
    meter.add({"total": 1.0}, num_images=4, num_instances=20)
    meter.add({"total": 2.0}, num_images=4, num_instances=30)
    now_s[0] = 2.0
    assert meter.take() == {"total": 1.5, "images_per_s": 4.0, "instances_per_s": 25.0}
    meter.add({"total": 5.0}, num_images=1, num_instances=1)
    now_s[0] = 4.0
    assert meter.take()["total"] == pytest.approx(5.0)
