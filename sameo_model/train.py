"""Command line `python -m sameo_model.train`: train a network from a configuration file."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = """examples:
  python -m sameo_model.train --config config/train/sameo_lite.yaml
  python -m sameo_model.train --config config/train/sameo_lite.yaml init=sameo_lite \\
      steps=2000 optimiser.lr=3e-4 output=runs/mine
  python -m sameo_model.train --config config/train/boxes.yaml
  torchrun --nproc-per-node 4 -m sameo_model.train --config config/train/cocoa_cls.yaml
  tensorboard --logdir runs

A stopped run continues: start the same command again. sameo_model/training/config.py documents
every key; nested keys are written with dots.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_model.train",
        description="Train a SAMEO network or the box detector; resumable, logs to TensorBoard.",
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
    from sameo_model.runtime.files import check_no_file_in_the_way
    from sameo_model.training.checkpointing import explain_full_disk
    from sameo_model.training.config_loading import load_config
    from sameo_model.training.mixture import describe_mixture
    from sameo_model.training.setup import (
        build_model,
        build_validation,
        check_roots,
        keep_freed_memory,
        needs_amodal,
        open_sources,
    )
    from sameo_model.training.trainer import train

    keep_freed_memory()
    config = load_config(config_path, overrides)
    check_no_file_in_the_way(Path(config.output), "output")
    check_roots((*config.train, *config.held_out, *config.val))
    sources = open_sources(config.train, config.held_out, needs_amodal=needs_amodal(config))
    is_first = os.environ.get("RANK", "0") == "0"
    if is_first:
        for line in describe_mixture(config, sources):
            print(line, flush=True)
    model = build_model(config)
    train(config, model, sources, build_validation(config, sources))
    if is_first:
        path = Path(config.output) / "model.safetensors"
        with explain_full_disk(path.parent):
            save_checkpoint(model, path)
        print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(main())
