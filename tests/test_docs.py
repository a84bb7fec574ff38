"""What README and docs tell people to type works, and their links lead somewhere."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
README = PAGES["README.md"]


def _run(words, folder=ROOT):
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)


def _code_of_shell(page):
    """Return the lines of indented blocks and of fenced ones that are for the shell."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.M | re.S)
    code = "".join(block for language, block in blocks if language in ("", "bash"))
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    code += "".join(f"{line}\n" for line in re.findall(r"^    (\S.*)$", prose, flags=re.M))
    return code.replace("\\\n", " ").splitlines()


def _commands(page):
    """Return the words after `python` of each command of this project."""
    found = []
    for line in _code_of_shell(page):
        match = re.search(
            r"(?:python|torchrun .*?) (-m (?:sameo_model|sameo_ros|benchmarks).*)", line
        )
        if match:
            found.append(tuple(shlex.split(match[1].rstrip("; "), comments=True)))
    return found


COMMANDS = [
    (name, words) for name, page in PAGES.items() for words in dict.fromkeys(_commands(page))
]


# `python -m` for all of them in one process: importing takes longer than helping.
ASK_FOR_HELP = """
import contextlib, io, json, runpy, sys
helps = []
for module, *words in json.loads(sys.argv[1]):
    sys.argv = [module, *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    helps.append(text.getvalue())
print(json.dumps(helps))
"""


def _program(words):
    """Return a command's module, and its subcommand where there is one."""
    has_subcommand = len(words) > 2 and re.fullmatch(r"[a-z][a-z-]+", words[2])
    return words[1:3] if has_subcommand else words[1:2]


@pytest.fixture(scope="module")
def helps():
    """What `--help` of each program prints."""
    programs = sorted({_program(words) for _, words in COMMANDS})
    ran = _run([sys.executable, "-c", ASK_FOR_HELP, json.dumps(programs)])
    assert ran.returncode == 0, ran.stderr
    return dict(zip(programs, json.loads(ran.stdout), strict=True))


def test_the_pages_show_commands():
    assert {name for name, _ in COMMANDS} >= {"README.md", "docs/training.md", "docs/evaluation.md"}
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(
    ("name", "words"), COMMANDS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(COMMANDS)]
)
def test_every_option_of_a_shown_command_exists(helps, name, words):
    shown = helps[_program(words)]
    assert shown.startswith("usage: ")
    for word in words[2:]:
        if word.startswith("--"):
            assert re.search(rf"{word}\b", shown), f"{word} is not in the help of {words}"
        if word.startswith("config/"):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize(
    ("name", "words"), COMMANDS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(COMMANDS)]
)
def test_a_shown_command_gives_what_its_program_requires(helps, name, words):
    usage = helps[_program(words)].split("\n\n")[0]
    while re.search(r"\[[^][]*\]", usage):
        usage = re.sub(r"\[[^][]*\]", "", usage)  # what may be left out
    is_cut_short = any(word in ("...", "--help") or word.startswith("$") for word in words)
    if not is_cut_short:
        assert set(re.findall(r" (--[a-z-]+)", usage)) <= set(words)


def test_every_option_is_described(helps):
    for program, shown in helps.items():
        options = shown.partition("options:\n")[2]
        bare = re.findall(r"^  (-[^ \n]+(?: [^ \n]+)*)$(?!\n {4})", options, flags=re.M)
        assert not bare or program[0].startswith("benchmarks."), program


def test_shown_make_targets_exist():
    targets = {
        target
        for page in PAGES.values()
        for line in _code_of_shell(page)
        for target in re.findall(r"^make ([a-z-]+)", line)
    }
    assert {"demo", "test", "setup", "bench"} <= targets
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_readme_makes_the_environment_before_it_uses_it():
    assert README.index("`make setup`") < README.index(".venv/bin/python")


def _anchors(path):
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def test_the_python_example_runs(tmp_path):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    image = np.random.default_rng(0).integers(0, 255, (320, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "bin.png"), image)
    ran = _run([sys.executable, "-c", snippet], tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_the_predict_example_writes_what_it_says(tmp_path):
    (words,) = [words for words in _commands(README) if "sameo_model.predict" in words]
    image = np.random.default_rng(0).integers(0, 255, (320, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "bin.png"), image)
    ran = _run([sys.executable, *words], tmp_path)
    assert ran.returncode == 0, ran.stderr
    for name in re.findall(r"`(out/[^`]+)`", README):
        assert (tmp_path / name).is_file()
