"""What the README tells people to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^    (python -m .*)$", README, flags=re.M)))


def _run(words, folder=ROOT):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)


def _module_and_subcommand(words):
    """Return what precedes the first option: `-m`, the module and its subcommand if any."""
    end = next((i for i, word in enumerate(words) if i > 2 and word.startswith("-")), len(words))
    return words[1:end]


def test_the_readme_shows_commands():
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_shown_command_exists(command):
    words = shlex.split(command)
    shown = _run([sys.executable, *_module_and_subcommand(words), "--help"])
    assert shown.returncode == 0, shown.stderr
    for word in words[3:]:
        if word.startswith("--"):
            assert re.search(rf"{word}\b", shown.stdout), f"{word} is not in the help of {command}"
        if word.startswith("config/"):
            assert (ROOT / word).is_file()


def test_shown_make_targets_exist():
    targets = set(re.findall(r"\bmake ([a-z-]+)", README)) - {"help"}
    assert {"demo", "test", "setup"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_linked_files_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_python_example_runs(tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    image = np.random.default_rng(0).integers(0, 255, (320, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "bin.png"), image)
    ran = _run([sys.executable, "-c", snippet], tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_predict_example_writes_what_it_says(tmp_path):
    (command,) = [c for c in COMMANDS if "sameo_model.predict" in c]
    image = np.random.default_rng(0).integers(0, 255, (320, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "bin.png"), image)
    ran = _run([sys.executable, *shlex.split(command)[1:]], tmp_path)
    assert ran.returncode == 0, ran.stderr
    for name in re.findall(r"`(out/[^`]+)`", README):
        assert (tmp_path / name).is_file()
