"""Our use of TensorRT's API against the published type stubs, by mypy."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sameo_model.runtime.backends import engine_build

FOLDER = Path(engine_build.__file__).parent
NAMES = ("build_progress.py", "engine_build.py", "tensorrt_engine.py")
FILES = [FOLDER / name for name in NAMES]
MAX_FAULTS = 100


def mend(text: str) -> str:
    """Open the signatures that are no Python, such as one with an argument called `in`."""
    lines = text.splitlines()
    for _ in range(MAX_FAULTS):
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            fault = lines[error.lineno - 1]
            found = re.match(r"( *def \w+)\(", fault)
            assert found, fault
            lines[error.lineno - 1] = f"{found[1]}(*args: typing.Any) -> typing.Any:"
        else:
            return "\n".join(lines)
    raise AssertionError(f"the stubs have more than {MAX_FAULTS} faults")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("tensorrt", "tensorrt_bindings"):
        spec = importlib.util.find_spec(name)
        source = Path(next(iter(spec.submodule_search_locations))) if spec else None
        if source is None or not list(source.glob("*.pyi")):
            pytest.skip("tensorrt-stubs is not installed")
        (folder / name).mkdir()
        for path in source.glob("*.pyi"):
            (folder / name / path.name).write_text(mend(path.read_text()))
    return folder


def test_names_and_types_fit_the_stubs_and_a_wrong_name_is_found(stubs, tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    wrong = tmp_path / "wrong_engine.py"
    text = FILES[-1].read_text()
    assert text.count("execute_async_v3") == 1
    wrong.write_text(text.replace("execute_async_v3", "execute_async_v4"))
    options = ["--follow-imports=silent", "--strict", "--no-warn-unused-ignores"]
    options += ["--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *options, *map(str, [*FILES, wrong])],
        cwd=FOLDER.parents[2],
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
    )
    # The stubs have faults of their own, which are none of ours.
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    ours = [line for line in errors if Path(line.split(":")[0]).name in NAMES]
    assert not ours, ours
    assert any('"IExecutionContext" has no attribute "execute_async_v4"' in e for e in errors)
