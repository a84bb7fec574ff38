"""Where the project's modules are started from."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
