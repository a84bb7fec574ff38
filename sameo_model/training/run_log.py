"""What a run says: progress line, TensorBoard and a file with one JSON object per entry."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sameo_model.runtime.files import write_whole
from sameo_model.runtime.types import Uint8Array

METRICS_NAME = "metrics.jsonl"
FILE_INTERVAL_S = 30.0  # between progress lines that no terminal overwrites


class RunLog:
    """Writes what happens in a run folder; silent in all processes but the first."""

    def __init__(
        self, output: Path, *, first_step: int, num_steps: int, is_silent: bool = False
    ) -> None:
        """Open the files; entries of steps that a resumed run repeats are dropped."""
        self.path = output / METRICS_NAME
        self.writer = None
        if not is_silent:
            _drop_entries_after(self.path, first_step)
            self.writer = SummaryWriter(str(output), purge_step=first_step + 1)
        self.bar = tqdm(
            total=num_steps,
            initial=first_step,
            desc=output.name,
            unit="step",
            mininterval=0.1 if sys.stderr.isatty() else FILE_INTERVAL_S,
            disable=is_silent,
            dynamic_ncols=True,
        )

    def advance(self) -> None:
        """Count one step."""
        self.bar.update()

    def log_training(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write means of the last steps and show them in the progress line."""
        self.bar.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in scalars.items()))
        self._write(step, {f"train/{name}": value for name, value in scalars.items()})

    def log_validation(self, step: int, scores: Mapping[str, object]) -> None:
        """Write those scores that are numbers."""
        self._write(step, {f"val/{k}": v for k, v in scores.items() if isinstance(v, (int, float))})

    def log_overlays(self, step: int, overlays: Mapping[str, Uint8Array]) -> None:
        """Write overlays, uint8 (H, W, 3) RGB, by name."""
        if self.writer:
            for name, overlay in overlays.items():
                self.writer.add_image(f"val/{name}", np.asarray(overlay), step, dataformats="HWC")

    def close(self) -> None:
        """Finish the files."""
        self.bar.close()
        if self.writer:
            self.writer.close()

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self.writer is None:
            return
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")


def _drop_entries_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    # A killed run may have left half a line, which ends the file.
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    write_whole(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


class Meter:
    """Means of the loss parts and the speed since the last log entry."""

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._sums: dict[str, float] = {}
        self._num_steps = self._num_images = self._num_instances = 0
        self._start_s = time.perf_counter()

    def add(self, losses: Mapping[str, float], num_images: int, num_instances: int) -> None:
        """Take in one step: its losses, and how many images and boxes it had."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._num_steps += 1
        self._num_images += num_images
        self._num_instances += num_instances

    def take(self) -> dict[str, float]:
        """Return the means since the last call and start anew."""
        elapsed_s = time.perf_counter() - self._start_s
        scalars = {name: value / self._num_steps for name, value in self._sums.items()}
        scalars["images_per_s"] = self._num_images / elapsed_s
        scalars["instances_per_s"] = self._num_instances / elapsed_s
        self._restart()
        return scalars
