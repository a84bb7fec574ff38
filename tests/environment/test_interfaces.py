"""Correcting the wheels' CMake exports, and what happens without a compiler."""

import json
import re
import sys
from pathlib import Path

import pytest

from environment.setup.errors import SetupError
from environment.setup.interfaces import correct_cmake_exports, require_compiler

EXPORT = """set_target_properties(x PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp312-cp312/include/python3.12;\
/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"
  INTERFACE_LINK_LIBRARIES "${_IMPORT_PREFIX}/lib/libx.so")
"""
# The type hashes of the official package, built with the same generators.
OFFICIAL_HASHES = Path(__file__).parent / "vision_msgs_type_hashes.json"


def test_foreign_include_folders_are_replaced_and_nothing_else(tmp_path):
    cmake = tmp_path / "x" / "cmake"
    cmake.mkdir(parents=True)
    export = cmake / "xExport.cmake"
    export.write_text(EXPORT)
    (cmake / "other.cmake").write_text("find_package(y)\n")
    python, numpy = Path("/here/include/python3.12"), Path("/here/numpy/include")
    assert correct_cmake_exports(tmp_path, python, numpy) == 1
    assert export.read_text() == EXPORT.replace(
        "/opt/python/cp312-cp312/include/python3.12", str(python)
    ).replace(
        "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include", str(numpy)
    )
    assert (cmake / "other.cmake").read_text() == "find_package(y)\n"
    assert correct_cmake_exports(tmp_path, python, numpy) == 0


def test_missing_compiler_is_named_with_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"No compiler found .*install build-essential"):
        require_compiler()


def installed_interfaces(package: str) -> Path:
    """The folder with a generated package's type descriptions; skips where a distribution rules."""
    folder = Path(sys.prefix) / "share" / package / "msg"
    if not folder.is_dir():
        pytest.skip(f"{package} does not come from the project's own environment")
    return folder


@pytest.mark.ros
@pytest.mark.parametrize("name", sorted(json.loads(OFFICIAL_HASHES.read_text())))
def test_our_vision_msgs_equals_the_official_package(name):
    description = json.loads((installed_interfaces("vision_msgs") / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    expected = json.loads(OFFICIAL_HASHES.read_text())[name]
    assert hashes[f"vision_msgs/msg/{name}"] == expected


@pytest.mark.ros
def test_generated_modules_and_our_own_form_one_package():
    import sameo_ros
    import sameo_ros.messages.conversions
    import sameo_ros.msg

    sources = Path(__file__).resolve().parents[2] / "sameo_ros"
    assert str(sources) in sameo_ros.__path__
    assert Path(sameo_ros.messages.conversions.__file__).parents[1] == sources
    assert re.search("site-packages|dist-packages", sameo_ros.msg.__file__)
