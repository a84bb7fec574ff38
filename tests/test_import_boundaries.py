"""Who may import whom, read from the sources and tried in fresh interpreters."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_imports import PROJECT_ROOT, imported_modules, module_name, source_files

# Each part of the project, and the parts of it that it may import besides itself.
ARROWS = {
    "sameo_model": (),
    "sameo_model.runtime": (),
    "sameo_model.modeling": ("sameo_model.runtime",),
    "sameo_model.data": ("sameo_model.runtime",),
    # Training validates with the scores that `evaluate` reports.
    "sameo_model.training": (
        "sameo_model.data",
        "sameo_model.evaluation",
        "sameo_model.modeling",
        "sameo_model.runtime",
    ),
    "sameo_model.evaluation": ("sameo_model.data", "sameo_model.modeling", "sameo_model.runtime"),
    "sameo_model.export": ("sameo_model.data", "sameo_model.modeling", "sameo_model.runtime"),
    "sameo_model.synthesis": ("sameo_model.data", "sameo_model.modeling", "sameo_model.runtime"),
    "sameo_model.playground": ("sameo_model.runtime",),
    "sameo_ros": (
        *("sameo_ros.core", "sameo_ros.messages", "sameo_ros.ros", "sameo_model.runtime"),
        *("sameo_ros.msg", "sameo_ros.srv"),
    ),
    "sameo_ros.core": ("sameo_model.runtime",),
    "sameo_ros.messages": ("sameo_model.runtime", "sameo_ros.core"),
    "sameo_ros.ros": (
        *("sameo_ros.core", "sameo_ros.messages", "sameo_model.runtime"),
        *("sameo_ros.msg", "sameo_ros.srv"),
    ),
    # Generated.
    "sameo_ros.msg": (),
    "sameo_ros.srv": (),
}
COMMAND_LINES = {
    "checkpoints",
    "datasets",
    "evaluate",
    "export",
    "predict",
    "predict_inputs",
    "synthesize",
    "train",
}
ROS_EXECUTABLES = {
    *("sameo_ros.node", "sameo_ros.build_engines", "sameo_ros.replay", "sameo_ros.recorder"),
    *("sameo_ros.view", "sameo_ros.ros.executable"),
    *("sameo_ros.ros.topic_views", "sameo_ros.ros.input_check", "sameo_ros.ros.topic_node"),
}
ROS_PACKAGES = {"rclpy", "rosidl_runtime_py", "ament_index_python", "launch", "launch_ros"}


def part_of(module: str) -> str | None:
    """The part of the project that a module belongs to; None for foreign modules."""
    owners = [p for p in ARROWS if module == p or module.startswith(f"{p}.")]
    return max(owners, key=len, default=None)


def is_command_line(path: Path) -> bool:
    return path.parent == PROJECT_ROOT / "sameo_model" and path.stem in COMMAND_LINES


FILES = source_files()
IDS = [module_name(path) for path in FILES]
PARTS = [path for path in FILES if not is_command_line(path)]
WITHOUT_ROS = [path for path in FILES if module_name(path) not in ROS_EXECUTABLES]
WITHOUT_MESSAGES = [
    path for path in FILES if part_of(module_name(path)) in ("sameo_ros.core", "sameo_ros.messages")
]


def test_the_walk_finds_the_sources():
    assert "sameo_model.runtime.predictor" in IDS
    assert set(IDS) >= ROS_EXECUTABLES
    assert len(WITHOUT_MESSAGES) > 15
    assert len(FILES) > 30


@pytest.mark.parametrize("path", PARTS, ids=module_name)
def test_file_follows_the_arrows(path):
    own = part_of(module_name(path))
    allowed = {own, *ARROWS[own]}
    for module in imported_modules(path):
        target = part_of(module)
        assert target is None or target in allowed, f"{module_name(path)} imports {module}"


@pytest.mark.parametrize("path", WITHOUT_ROS, ids=module_name)
def test_only_the_ros_executables_import_rclpy(path):
    roots = {module.split(".")[0] for module in imported_modules(path)}
    assert not roots & ROS_PACKAGES


@pytest.mark.parametrize("path", WITHOUT_MESSAGES, ids=module_name)
def test_core_and_conversions_import_no_messages(path):
    roots = {module.split(".")[0] for module in imported_modules(path)}
    assert not {root for root in roots if root.endswith(("_msgs", "_srvs", "_interfaces"))}
    parts = {part_of(module) for module in imported_modules(path)}
    assert not parts & {"sameo_ros.msg", "sameo_ros.srv"}


@pytest.mark.parametrize("name", sorted(COMMAND_LINES & {p.stem for p in FILES}))
def test_no_part_imports_a_command_line(name):
    importers = [
        module_name(path)
        for path in FILES
        if not is_command_line(path)
        and any(m.split(".")[:2] == ["sameo_model", name] for m in imported_modules(path))
    ]
    assert importers == []


def modules_after_importing(*modules: str) -> set[str]:
    """Names of all top-level modules that a fresh interpreter holds after these imports."""
    code = f"import sys; import {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def modules_below(package: str) -> list[str]:
    return [name for name in IDS if name == package or name.startswith(f"{package}.")]


NEEDS_CUDA = {"sameo_model.runtime.backends.tensorrt"}
HEAVY = {"torch", "cv2", "numpy", "onnx", "onnxruntime", "openvino", "tensorrt", "pycuda"}


def test_importing_sameo_model_loads_nothing_heavy():
    assert not modules_after_importing("sameo_model") & (HEAVY | ROS_PACKAGES)


def test_importing_the_runtime_loads_neither_torch_nor_ros_nor_an_engine():
    modules = [m for m in modules_below("sameo_model.runtime") if m not in NEEDS_CUDA]
    loaded = modules_after_importing(*modules)
    assert "sameo_model" in loaded
    assert not loaded & (ROS_PACKAGES | {"torch", "onnx", "tensorrt", "tensorrt_rtx", "pycuda"})


def test_importing_the_ros_package_without_its_executables_loads_neither_torch_nor_rclpy():
    loaded = modules_after_importing(
        *(m for m in modules_below("sameo_ros") if m not in ROS_EXECUTABLES)
    )
    assert not loaded & (ROS_PACKAGES | {"torch"})


@pytest.mark.ros
def test_importing_the_ros_executables_does_not_load_torch():
    loaded = modules_after_importing(*sorted(ROS_EXECUTABLES))
    assert "rclpy" in loaded
    assert not loaded & {"torch"}


def test_importing_all_of_sameo_model_does_not_load_rclpy():
    pytest.importorskip("torch")
    modules = [m for m in modules_below("sameo_model") if m not in NEEDS_CUDA]
    loaded = modules_after_importing(*modules)
    assert "torch" in loaded
    assert not loaded & ROS_PACKAGES
