"""Run a command of the page with settings that make it small; called as `python` would be."""

from __future__ import annotations

import os
import runpy
import sys

TRAIN = (
    "preset=efficient_sam_vitt image_size=64 init=tiny.safetensors steps=2 workers=0 "
    "checkpoint_interval=9 val_interval=0 val_images=2 val_overlays=0 log_interval=1"
)
SMALL = {
    ("sameo_model.train",): TRAIN,
    # An untrained network agrees with no mask, so that every object has to pass for complete.
    ("sameo_model.synthesize", "amodal-lvis"): "--config any_iou.yaml --pairs 6 --workers 1",
    ("sameo_model.synthesize", "walt"): "--num-images 4 --objects 5 --workers 1",
    ("sameo_model.datasets",): "--workers 1",
}


def small_arguments(module: str, arguments: list[str]) -> list[str]:
    """Return the arguments with what makes the command small behind them."""
    for (name, *subcommand), more in SMALL.items():
        if module == name and arguments[: len(subcommand)] == subcommand:
            return [*arguments, *more.split()]
    return arguments


if __name__ == "__main__":
    # Called as `run_small.py -m module argument ...`.
    _, _, module, *arguments = sys.argv
    print("running", module, *arguments, flush=True)
    sys.path.insert(0, os.environ["SAMEO_SOURCES"])
    sys.argv = [module, *small_arguments(module, arguments)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
