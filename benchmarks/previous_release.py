"""The bundle of version 0.1, out of the repository's history, to measure and compare against.

python -m benchmarks.previous_release FOLDER
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sameo_model.runtime.bundle import load_bundle

ROOT = Path(__file__).parents[1]
RELEASE = "version 0.1"
COMMIT = "a550e1d98b1f036924630c7622adbb8b615165a7"
BUNDLE = "sameo_model/weights/sameo_lite"


def write_previous_release(folder: Path) -> Path:
    """Write the bundle into a folder, unless it is there, and return the folder.

    Raises:
        RuntimeError: If this copy of the project has no history, or not all of it.
        ValueError: If what the folder holds is damaged.
    """
    if not folder.is_dir():
        names = _git("ls-tree", "--name-only", f"{COMMIT}:{BUNDLE}").decode().split()
        contents = {name: _git("show", f"{COMMIT}:{BUNDLE}/{name}") for name in names}
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    load_bundle(folder)
    return folder


def _git(*words: str) -> bytes:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the bundle of {RELEASE} must be in the history of {ROOT} (commit {COMMIT}), which "
            "git cannot read; clone the repository whole"
        ) from error


if __name__ == "__main__":
    print(write_previous_release(Path(sys.argv[1])))
