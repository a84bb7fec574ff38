"""Command line `python -m sameo_model.train`: train a network from a configuration file."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sameo_model.training.config import TrainConfig
    from sameo_model.training.trainer import Validate

EXAMPLES = """examples:
  python -m sameo_model.train --config config/train/sameo_lite_visible.yaml
  python -m sameo_model.train --config config/train/sameo_lite_amodal.yaml \\
      steps=2000 optimiser.lr=3e-4 output=runs/mine
  tensorboard --logdir runs

A run that was stopped goes on where it was: start the same command again. Every key and its
meaning stands in sameo_model/training/config.py; nested keys are written with dots.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.train",
        description="Train a SAMEO network; resumable, logs to TensorBoard.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, type=Path, help="YAML file of the run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values to change")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        _run(options.config, options.overrides)
    except KeyboardInterrupt:
        print("stopped; start the same command again to resume", file=sys.stderr)
        return 130
    except Exception as error:
        logging.getLogger(__name__).debug("training failed", exc_info=True)
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(config_path: Path, overrides: list[str]) -> None:
    # Imported here so that --help answers at once.
    from sameo_model.modeling.checkpoint import save_checkpoint
    from sameo_model.training.config import load_config
    from sameo_model.training.setup import build_model, open_sources
    from sameo_model.training.trainer import train

    config = load_config(config_path, overrides)
    sources = open_sources(config.train)
    model = build_model(config)
    train(config, model, sources, _validation(config))
    path = Path(config.output) / "model.safetensors"
    save_checkpoint(model, path)
    print(f"wrote {path}")


def _validation(config: TrainConfig) -> Validate | None:
    from sameo_model.evaluation.mask_metrics import evaluate_masks
    from sameo_model.evaluation.torch_predictor import wrap_model
    from sameo_model.training.setup import open_sources

    if not config.val:
        return None
    images = [image for source in open_sources(config.val) for image in source.images]
    images = images[: config.val_images or None]
    return lambda model: evaluate_masks(wrap_model(model), images, prompts="visible")


if __name__ == "__main__":
    raise SystemExit(main())
